"""What Scumble's Blender side and server side both know: jobs, messages, conventions, limits, errors.

Standard library and numpy only, so that the Blender extension can carry it.
"""

__version__ = "0.1.0"
