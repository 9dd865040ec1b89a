"""Models that make control images of a photo or painting: transformers' and diffusers' own classes, loaded when asked.

They are small beside what paints, and done before it begins: after each look a model goes back to the processor's
memory, and only the one used last is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scumble_shared.ade20k import COLOURS
from scumble_shared.errors import ErrorCode, Remedy, ScumbleError
from scumble_shared.tensor import AnyArray, digest_of

from ..models.detectors import MARIGOLD, NETWORKS, PERSON, detector_class
from ..models.entries import DetectorEntry
from ..models.library import lease
from ..service import JobHooks
from .cache import Cache
from .conditioning import draw_poses, normal_image, to_bytes
from .conditioning.openpose import SeenPose
from .conditioning.pixels import resize_nearest, resize_smooth
from .control_pictures import KEPT, KEPT_PIXELS
from .device import Device
from .families.loading import guarded, options
from .pixels import image_array

__all__ = ["Detectors"]

LARGEST, SMALLEST = 1536, 32
"""Sides of what a model is shown, pixels; it makes the picture smaller still."""

SURE = 0.3
"""How sure of a point a network must be for it to be drawn, as controlnet_aux has it."""

SURE_OF_PEOPLE, MOST_PEOPLE = 0.5, 16

SEED = 0
"""Of Marigold's noise: the same picture has the same control image, whatever else the job is."""

FROM_COCO = (0, None, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
"""Point of OpenPose's -> of COCO's 17; the neck is midway between the shoulders."""
NECK, SHOULDERS = 1, [2, 5]


Box = tuple[float, float, float, float]
"""Left, top, width and height, pixels."""

Found = TypeVar("Found")


class Movable(Protocol):
    """A loaded model. modules: that move between devices."""

    @property
    def modules(self) -> list[torch.nn.Module]: ...


class Detector(Movable, Protocol):
    """That makes control images."""

    def control(
        self, picture: AnyArray, width: int, height: int, device: torch.device, boxes: Sequence[Box] | None = None
    ) -> AnyArray:
        """uint8 H x W x 3 -> control image, uint8 height x width x 3. The modules are on ``device``. boxes: of people;
        None if nobody looked for them."""
        ...


@dataclass(slots=True)
class _Held:
    """Its files aren't deleted or replaced while it is loaded."""

    detector: Movable
    lease: ExitStack


class Detectors:
    """Owns the detector that is loaded, and the control images made last: live mode asks for the same many times."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._loaded: Cache[Path, _Held] = Cache(1, lambda held: held.lease.close())
        self._made: Cache[tuple[object, ...], AnyArray] = Cache(KEPT)

    def control(
        self,
        entry: DetectorEntry,
        number: int,
        picture: AnyArray,
        size: tuple[int, int],
        hooks: JobHooks,
        people: DetectorEntry | None = None,
    ) -> AnyArray:
        """The control image of ``picture`` (uint8 H x W x 3), uint8, of ``size`` (width, height).

        number: of the control. people: what finds them, for poses; without it the picture is taken for one person's.
        Raises ScumbleError MODEL_INVALID, IN_USE, or INVALID_RESULT if nothing comes of it; JobCancelled.
        """
        field = f"job.controls[{number}].detector"

        def make() -> AnyArray:
            hooks.check_cancelled()
            hooks.progress("detecting")
            shown = _shown(picture)
            try:
                boxes = None
                if people is not None and entry.kind == "openpose":
                    boxes = self._use(people, field, lambda finder, device: finder.boxes(shown, device))
                    hooks.check_cancelled()
                return self._use(entry, field, lambda detector, device: detector.control(shown, *size, device, boxes))
            except _NothingFoundError as error:
                remedy = Remedy("Use another picture, or remove the control")
                raise ScumbleError(ErrorCode.INVALID_RESULT, str(error), field=field, remedy=remedy) from None

        if size[0] * size[1] > KEPT_PIXELS:
            return make()
        finder = None if people is None else people.path
        return self._made.get((digest_of(picture), entry.path, finder, size), make)

    def clear(self) -> bool:
        """Let go of what is loaded; whether there was anything."""
        found = len(self._loaded) > 0
        self._loaded.clear()
        return found

    def _use(self, entry: DetectorEntry, field: str, look: Callable[[Any, torch.device], Found]) -> Found:
        """What ``look`` makes of the loaded detector, which is on the device meanwhile."""
        detector = self._loaded.get(entry.path, lambda: _load(entry, field)).detector
        device = self._device.torch_device
        try:
            for module in detector.modules:
                module.to(device)
            with torch.inference_mode():
                return look(detector, device)
        finally:
            for module in detector.modules:
                module.to("cpu")


class _NothingFoundError(Exception):
    """The picture tells nothing."""


@dataclass(frozen=True, slots=True)
class _Network:
    """One of transformers', with what prepares pictures for it."""

    network: Any
    processor: Any

    @property
    def modules(self) -> list[torch.nn.Module]:
        return [self.network]

    def told(self, picture: AnyArray, device: torch.device, **more: Any) -> Any:
        inputs = self.processor(images=Image.fromarray(picture), return_tensors="pt", **more)
        return self.network(pixel_values=inputs["pixel_values"].to(device, self.network.dtype), **self._besides(device))

    def _besides(self, device: torch.device) -> dict[str, Any]:
        experts = getattr(getattr(self.network.config, "backbone_config", None), "num_experts", 1)
        return {"dataset_index": torch.zeros(1, dtype=torch.long, device=device)} if (experts or 1) > 1 else {}


class _Depth(_Network):
    """Near is white, between the nearest and the farthest of the picture."""

    def control(
        self, picture: AnyArray, width: int, height: int, device: torch.device, boxes: Sequence[Box] | None = None
    ) -> AnyArray:
        outputs, sizes = self.told(picture, device), [picture.shape[:2]]
        made = self.processor.post_process_depth_estimation(outputs, target_sizes=sizes)
        told = made[0]["predicted_depth"].float().reshape(1, 1, *picture.shape[:2])
        return _closeness(1.0 / told.clamp_min(1e-3) if self._is_metric else told, width, height)

    @property
    def _is_metric(self) -> bool:
        """Whether it tells distances; others tell how near things are."""
        return bool(getattr(self.network.config, "depth_estimation_type", "") == "metric")


class _Segmentation(_Network):
    """ADE20K's colours; never mixed."""

    def control(
        self, picture: AnyArray, width: int, height: int, device: torch.device, boxes: Sequence[Box] | None = None
    ) -> AnyArray:
        logits = self.told(picture, device).logits.float()
        kinds = resize_smooth(logits, *picture.shape[1::-1]).argmax(dim=1)
        palette = torch.tensor(list(COLOURS.values()), dtype=torch.uint8, device=kinds.device)
        colours: AnyArray = palette[resize_nearest(kinds, width, height)[0]].cpu().numpy()
        return colours


class _People(_Network):
    """Where people are."""

    def boxes(self, picture: AnyArray, device: torch.device) -> list[Box]:
        """Of those it is sure of, the surest first."""
        outputs, sizes = self.told(picture, device), [picture.shape[:2]]
        (told,) = self.processor.post_process_object_detection(outputs, threshold=SURE_OF_PEOPLE, target_sizes=sizes)
        names = self.network.config.id2label
        order = told["scores"].argsort(descending=True).tolist()
        found = [told["boxes"][n].tolist() for n in order if names[int(told["labels"][n])] == PERSON]
        return [(left, top, right - left, bottom - top) for left, top, right, bottom in found[:MOST_PEOPLE]]


class _Pose(_Network):
    """Of each of the people, or of the one who fills the picture where nobody was looked for."""

    def control(
        self, picture: AnyArray, width: int, height: int, device: torch.device, boxes: Sequence[Box] | None = None
    ) -> AnyArray:
        whole = (0.0, 0.0, float(picture.shape[1]), float(picture.shape[0]))
        scale = np.array([width / picture.shape[1], height / picture.shape[0]])
        bodies = [self._body(picture, box, device) for box in ([whole] if boxes is None else boxes)]
        seen = [pose for pose in (SeenPose(body * scale) for body in bodies) if pose.is_seen]
        if not seen:
            raise _NothingFoundError("nobody's pose is found in the picture")
        return draw_poses(seen, width, height)

    def _body(self, picture: AnyArray, box: Box, device: torch.device) -> NDArray[np.float64]:
        """OpenPose's points, 18 x 2, pixels; NaN for those it isn't sure of."""
        boxes = [[list(box)]]
        outputs = self.told(picture, device, boxes=boxes)
        outputs.heatmaps = outputs.heatmaps.float()
        (told,) = self.processor.post_process_pose_estimation(outputs, boxes=boxes)[0]
        points = told["keypoints"].numpy().astype(np.float64)
        points[told["scores"].numpy() < SURE] = np.nan
        body = np.array([(np.nan, np.nan) if place is None else points[place] for place in FROM_COCO])
        body[NECK] = body[SHOULDERS].mean(axis=0)
        with np.errstate(invalid="ignore"):
            body[((body < 0.0) | (body >= picture.shape[1::-1])).any(axis=1)] = np.nan
        return body


@dataclass(frozen=True, slots=True)
class _Marigold:
    """A pipeline of diffusers. kind: what it tells."""

    pipeline: Any
    kind: str

    @property
    def modules(self) -> list[torch.nn.Module]:
        return [self.pipeline.unet, self.pipeline.vae, self.pipeline.text_encoder]

    def control(
        self, picture: AnyArray, width: int, height: int, device: torch.device, boxes: Sequence[Box] | None = None
    ) -> AnyArray:
        colour = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255.0
        generator = torch.Generator("cpu").manual_seed(SEED)
        told = self.pipeline(colour, generator=generator, output_type="pt").prediction.float().cpu()
        if self.kind == "depth":
            return _closeness(1.0 - told, width, height)
        # x right, y up, z towards the viewer, as everywhere here
        made: AnyArray = to_bytes(normal_image(told.permute(0, 2, 3, 1), (width, height)))[0].numpy()
        return made


def _shown(picture: AnyArray) -> AnyArray:
    """Small enough to be looked at in a moment, and with enough pixels that there is something to see."""
    height, width = picture.shape[:2]
    scale = min(1.0, LARGEST / max(width, height))
    across, down = (max(SMALLEST, round(side * scale)) for side in (width, height))
    return image_array(picture, across, down, "picture")


def _closeness(values: torch.Tensor, width: int, height: int) -> AnyArray:
    """1 x 1 x H x W, greater is nearer -> uint8 height x width x 3, the nearest white."""
    if not bool(torch.isfinite(values).all()):
        raise _NothingFoundError("the detector told depths that are no numbers")
    low, high = values.min(), values.max()
    grey = (values - low) / (high - low).clamp_min(1e-12)
    made: AnyArray = to_bytes(resize_smooth(grey, width, height).expand(-1, 3, -1, -1))[0].cpu().numpy()
    return made


CLASSES: Mapping[str, Callable[[Any, Any], Movable]] = {
    "depth": _Depth,
    "segmentation": _Segmentation,
    "openpose": _Pose,
    "people": _People,
}


def _load(entry: DetectorEntry, field: str) -> _Held:
    with ExitStack() as stack:
        try:
            stack.enter_context(lease(entry.path))
            detector = guarded(entry.name, _loader(entry))
        except ScumbleError as error:
            known = error.code in (ErrorCode.IN_USE, ErrorCode.MODEL_INVALID)
            remedy = Remedy("Let it be chosen, or download it again") if known else error.info.remedy
            raise ScumbleError.from_info(replace(error.info, field=field, remedy=remedy)) from error
        return _Held(detector, stack.pop_all())


def _loader(entry: DetectorEntry) -> Callable[[], Movable]:
    name = detector_class(entry.path)

    def load_network() -> Movable:
        import transformers

        processor = transformers.AutoImageProcessor.from_pretrained(
            entry.path, backend="pil", local_files_only=True, trust_remote_code=False
        )
        network = getattr(transformers, name).from_pretrained(entry.path, use_safetensors=True, local_files_only=True)
        return CLASSES[NETWORKS[name]](network.float().eval().requires_grad_(False), processor)

    def load_pipeline() -> Movable:
        import diffusers

        pipeline = getattr(diffusers, name).from_pretrained(
            entry.path, **options(entry.path / "unet", "diffusion_pytorch_model")
        )
        pipeline.set_progress_bar_config(disable=True)
        return _Marigold(pipeline, MARIGOLD[name])

    return load_pipeline if name in MARIGOLD else load_network
