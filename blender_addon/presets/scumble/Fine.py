import bpy

settings = bpy.context.scene.scumble

settings.width = 768
settings.height = 768
settings.sampler = "dpmpp_2m_karras"
settings.num_inference_steps = 40
settings.guidance_scale = 7.0
