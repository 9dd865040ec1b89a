"""Other programs as the worker: a running ComfyUI or AUTOMATIC1111 (Forge, too), behind the same protocol.

An executor here speaks their HTTP interface, and keeps Scumble's own: exact geometry becomes control images as for our
own engine, sizes and seeds mean the same, errors are typed. Nothing is installed into the other program.
"""
