"""A running ComfyUI: a graph for each picture, progress and previews over its websocket."""
