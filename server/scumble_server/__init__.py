"""The Scumble server: protocol edge, queue and supervisor, diffusion engine and texturing."""
