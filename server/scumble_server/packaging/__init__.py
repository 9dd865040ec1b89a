"""How the Blender extension is put together."""
