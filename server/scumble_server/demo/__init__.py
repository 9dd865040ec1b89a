"""The demo: Blender, the extension and the server doing the main job together, with pictures of each stage."""
