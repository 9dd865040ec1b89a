"""Depth, normals and pictures from files other programs wrote, in Scumble's own conventions."""
