import bpy

settings = bpy.context.scene.scumble

settings.width = 512
settings.height = 512
settings.sampler = "dpmpp_2m_karras"
settings.num_inference_steps = 20
settings.guidance_scale = 7.0
