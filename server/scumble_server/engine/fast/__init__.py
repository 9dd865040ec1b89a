"""The same pictures sooner: one graph for a step, nothing that waits for the device, and less work where asked for.

Everything here stands behind two things that the denoise loop is given anyway: a network
(:class:`..denoise.Network`) and a sampler. Without it the loop runs the plain ones, and that is the exact path.
"""
