"""Parts of the denoise loop, each small and by itself."""
