"""A Blender that quits in the middle of a job, without a word to anybody. Prints its server's process id."""

from __future__ import annotations

import os
import sys

archive, server, folder = sys.argv[1:]
os.environ["BLENDER_USER_RESOURCES"] = os.path.join(folder, "profile")

import bpy  # noqa: E402

bpy.ops.extensions.package_install_files(filepath=archive, repo="user_default", enable_on_install=True)
from bl_ext.user_default.scumble import api, state  # noqa: E402

bpy.context.preferences.addons["bl_ext.user_default.scumble"].preferences.server_path = server
record = api.generate(prompt="x", source="CAMERA", width=64, height=64, num_inference_steps=400, wait=False)
while not api.job(record.id).step:
    api.step()
print(state.session().server_pid, flush=True)
