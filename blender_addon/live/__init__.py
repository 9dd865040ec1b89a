"""Live: a picture that follows the viewport.

``schedule`` and ``adapt`` decide, without any Blender in them; ``watch`` notices what changes, ``frames`` captures it,
``painter`` runs the loop, ``surface`` draws on to the meshes, ``control`` switches it all on and off.
"""
