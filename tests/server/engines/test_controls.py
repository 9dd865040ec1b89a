"""Another program's ControlNets get the pictures that our own engine would show: drawn here, or found in photos."""

from __future__ import annotations

import numpy as np
import pytest
from scumble_server.engine.conditioning.detect import detected
from scumble_server.engines.listing import Listing, named
from scumble_server.engines.pictures import control_pictures
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import Control, GenerateJob
from scumble_shared.tensor import digest_of
from scumble_shared.validate import validate_job

PHOTO = np.random.default_rng(1).integers(0, 256, (32, 48, 3), np.uint8)
NAME = digest_of(PHOTO)
LISTING = Listing("ComfyUI", models=named(["sd15.safetensors"]), controlnets=named(["control_v11f1e_sd15_tile.pth"]))


def shown(*controls: Control, **changes) -> list[np.ndarray]:
    job = GenerateJob("moss", width=48, height=32, controls=controls, **changes)
    return control_pictures(job, {NAME: PHOTO})


def test_lines_and_colours_of_photos_are_found_here():
    canny, tile, own = shown(
        Control("canny", image=NAME, detector="auto"), Control("tile", image=NAME), Control("tile"), init_image=NAME
    )
    assert (canny == detected("canny", PHOTO)).all()
    assert (tile == PHOTO).all()
    assert (own == PHOTO).all()


def test_what_takes_a_model_is_refused_before_anything_is_sent():
    with pytest.raises(ScumbleError) as caught:
        shown(Control("depth", image=NAME, detector="auto"))
    assert caught.value.code is ErrorCode.MODEL_MISSING
    known = LISTING.capabilities()
    tile = GenerateJob("moss", model="sd15", controls=(Control("tile", image=NAME, detector="auto"),))
    validate_job(tile, capabilities=known)
    union = Listing("ComfyUI", models=LISTING.models, controlnets=named(["union-promax.safetensors"])).capabilities()
    depth = GenerateJob("moss", model="sd15", controls=(Control("depth", image=NAME, detector="auto"),))
    with pytest.raises(ScumbleError) as caught:
        validate_job(depth, capabilities=union)
    assert caught.value.info.field == "job.controls[0].detector"
