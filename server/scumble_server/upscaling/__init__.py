"""Pictures with more pixels: resampling, networks made for it, and tiles that keep what they share in step."""
