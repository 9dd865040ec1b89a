"""The way to a server: a process of our own or an address, and one thread that talks to it. Nothing here knows bpy."""
