"""Another Blender on the same server: installs the extension into a profile of its own and generates three pictures."""

from __future__ import annotations

import os
import sys

archive, url, folder = sys.argv[1:]
os.environ["BLENDER_USER_RESOURCES"] = os.path.join(folder, "profile")

import bpy  # noqa: E402

bpy.ops.extensions.package_install_files(filepath=archive, repo="user_default", enable_on_install=True)
from bl_ext.user_default.scumble import api  # noqa: E402

preferences = bpy.context.preferences.addons["bl_ext.user_default.scumble"].preferences
preferences.connection, preferences.url, preferences.token = "ADDRESS", url, os.environ["SCUMBLE_TEST_TOKEN"]
count = 0
for seed in range(3):
    size = {"width": 64, "height": 64, "num_inference_steps": 2}
    count += api.generate(prompt="second", source="CAMERA", seed=seed, **size).state == "done"
bpy.ops.preferences.addon_disable(module="bl_ext.user_default.scumble")
print(f"{count} pictures", flush=True)
os._exit(0 if count == 3 else 1)
