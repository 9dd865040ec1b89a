import bpy

settings = bpy.context.scene.scumble

settings.width = 384
settings.height = 384
settings.sampler = "euler"
settings.num_inference_steps = 8
settings.guidance_scale = 5.0
