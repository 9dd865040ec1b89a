"""What a model repository holds, at which commit, and which of its files make up a model.

The hub's public interface: ``GET /api/models/REPO/revision/REVISION?blobs=true`` names the commit and every file with
its size and its SHA-256 (large files) or git SHA-1; ``GET /REPO/resolve/COMMIT/FILE`` gives the file. Mirrors serve
the same paths.
"""

from __future__ import annotations

import http.client
import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from scumble_shared.errors import ErrorCode, Remedy, ScumbleError

from .library_names import check_file
from .manifest import MANIFEST_NAME
from .transfer import TransferHooks, with_retries
from .transfer_http import Dropped, Network, open_url, shown

__all__ = ["RemoteFile", "Repository", "choose_files", "fetch_json", "is_commit", "list_repository", "nonsense"]

LISTING_BYTES = 32 * 1024 * 1024
REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9._-]{1,96}", re.ASCII)
COMPONENTS = (
    "scheduler",
    "text_encoder",
    "text_encoder_2",
    "text_encoder_3",
    "tokenizer",
    "tokenizer_2",
    "tokenizer_3",
    "transformer",
    "unet",
    "vae",
)
"""Folders of a pipeline that a family loads. Others hold safety checkers, other formats and older versions."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """path: in the repository. size: bytes. sha256, git_sha1: lower-case hex, "" if the hub doesn't tell it."""

    path: str
    size: int | None = None
    sha256: str = ""
    git_sha1: str = ""


@dataclass(frozen=True, slots=True)
class Repository:
    """name: ``owner/name``. commit: 40 hex digits. licence: as its card says, "" if it doesn't."""

    name: str
    commit: str
    licence: str
    files: tuple[RemoteFile, ...]

    def url(self, path: str, network: Network) -> str:
        return f"{network.hub}/{self.name}/resolve/{self.commit}/{quote(path)}"


def is_commit(revision: str) -> bool:
    return re.fullmatch("[0-9a-f]{40}", revision) is not None


def list_repository(name: str, revision: str, network: Network, hooks: TransferHooks) -> Repository:
    """The repository at ``revision``, a commit or a branch such as "main", which is resolved to its commit.

    Raises ScumbleError INVALID_FIELD for what is no ``owner/name``, DOWNLOAD_FAILED for an answer that makes no sense,
    and those of :func:`open_url`.
    """
    if not REPO.fullmatch(name) or ".." in name:
        message = f"{name[:120]!r} is no repository; write OWNER/NAME"
        raise ScumbleError(ErrorCode.INVALID_FIELD, message, field="repo")
    url = f"{network.hub}/api/models/{name}/revision/{quote(revision, safe='')}?blobs=true"
    answer = with_retries(lambda: fetch_json(url, network), network, hooks)
    try:
        found = _repository(name, answer)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise nonsense(url) from error
    if is_commit(revision) and found.commit != revision:
        message = f"{shown(url)} answers with commit {found.commit} instead of the pinned {revision}"
        raise ScumbleError(ErrorCode.MODEL_INVALID, message, field="revision")
    return found


def fetch_json(url: str, network: Network) -> Any:
    """The JSON at ``url``. Raises Dropped for what another attempt may mend, and ScumbleError likewise."""
    response = open_url(url, network, {"Accept": "application/json"})
    try:
        text = response.read(LISTING_BYTES + 1)
        short = response.length
    except (OSError, http.client.HTTPException) as error:
        raise Dropped(f"the connection to {shown(url)} broke") from error
    finally:
        response.close()
    if short and len(text) <= LISTING_BYTES:
        raise Dropped(f"{shown(url)} ended {short} bytes too early")
    try:
        if len(text) > LISTING_BYTES:
            raise ValueError
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise nonsense(url) from error


def nonsense(url: str) -> ScumbleError:
    """What to tell of an answer that no hub gives."""
    message = f"{shown(url)} doesn't answer as a model hub does"
    remedy = Remedy("Check the mirror setting; a login page of the network may be in the way")
    return ScumbleError(ErrorCode.DOWNLOAD_FAILED, message, field="url", remedy=remedy)


def _repository(name: str, answer: Any) -> Repository:
    commit = answer["sha"]
    if not isinstance(commit, str) or not is_commit(commit):
        raise ValueError("no commit")
    card = answer.get("cardData")
    licence = card.get("license_name") or card.get("license") if isinstance(card, dict) else ""
    files = tuple(_file(item) for item in answer["siblings"])
    return Repository(name, commit, licence if isinstance(licence, str) else "", files)


def _file(item: Any) -> RemoteFile:
    path, size, blob, large = item["rfilename"], item.get("size"), item.get("blobId"), item.get("lfs")
    sha256 = large.get("sha256") if isinstance(large, dict) else ""
    if not isinstance(path, str) or (size is not None and (type(size) is not int or size < 0)):
        raise ValueError("no file")
    if sha256:
        return RemoteFile(path, size, sha256=_hex(sha256, 64))
    return RemoteFile(path, size, git_sha1=_hex(blob, 40) if blob and size is not None else "")


def _hex(value: Any, digits: int) -> str:
    if not isinstance(value, str) or not re.fullmatch(f"[0-9a-f]{{{digits}}}", value):
        raise ValueError("no checksum")
    return value


def choose_files(repository: Repository, wanted: tuple[str, ...] = ()) -> dict[str, RemoteFile]:
    """Path in the model's folder -> file: those that make up the model, each kind of weights once.

    wanted: exactly these files instead. Of a diffusers pipeline: its components, half precision where offered, saved
    under the plain name so that every loader finds them. Of a ControlNet or VAE: settings and weights. Otherwise the
    one ``.safetensors`` file there is.
    Raises ScumbleError MODEL_MISSING, MODEL_INVALID (nothing but pickle files) or INVALID_FIELD (several candidates).
    """
    by_path = {file.path: file for file in repository.files}
    if wanted:
        return _wanted(repository, by_path, wanted)
    if "model_index.json" in by_path:
        chosen = {name: by_path[name] for name in ("model_index.json", MANIFEST_NAME) if name in by_path}
        for folder in COMPONENTS:
            chosen |= _component(by_path, f"{folder}/")
        return chosen
    if "config.json" in by_path and (found := _component(by_path, "")):
        return found
    return _single(repository, by_path)


def _wanted(repository: Repository, by_path: dict[str, RemoteFile], wanted: tuple[str, ...]) -> dict[str, RemoteFile]:
    for path in wanted:
        check_file(path)
        if path not in by_path:
            message = f"{repository.name} has no file {path} at {repository.commit[:12]}"
            raise ScumbleError(ErrorCode.MODEL_MISSING, message, field="file")
    return {path: by_path[path] for path in wanted}


def _component(by_path: dict[str, RemoteFile], prefix: str) -> dict[str, RemoteFile]:
    """Settings and one set of weights of the component in folder ``prefix``; {} if it has no usable weights."""
    names = [path[len(prefix) :] for path in by_path if path.startswith(prefix) and "/" not in path[len(prefix) :]]
    chosen = {f"{prefix}{name}": by_path[f"{prefix}{name}"] for name in names if _is_setting(name)}
    weights = _weights(names)
    if not weights and any(name.endswith((".bin", ".pt", ".ckpt")) for name in names):
        message = f"{prefix or 'the model'} has only pickle weights, which can run code when they are opened"
        remedy = Remedy("Look for a .safetensors version of this model")
        raise ScumbleError(ErrorCode.MODEL_INVALID, message, field="file", remedy=remedy)
    chosen |= {f"{prefix}{local}": by_path[f"{prefix}{name}"] for local, name in weights.items()}
    return chosen if weights or prefix else {}


def _is_setting(name: str) -> bool:
    return name.endswith((".json", ".txt")) and ".index." not in name and _is_allowed(name)


def _is_allowed(name: str) -> bool:
    try:
        check_file(name)
    except ScumbleError:
        return False
    return True


def _weights(names: list[str]) -> dict[str, str]:
    """Local name -> name of one set of weights: one half-precision file, one file, or an unlabelled set of shards."""
    for stem in ("diffusion_pytorch_model", "model"):
        for name in (f"{stem}.fp16.safetensors", f"{stem}.safetensors"):
            if name in names:
                return {f"{stem}.safetensors": name}
        shards = [name for name in names if re.fullmatch(rf"{stem}-\d{{5}}-of-\d{{5}}\.safetensors", name)]
        index = f"{stem}.safetensors.index.json"
        if shards and index in names:
            return {name: name for name in (index, *sorted(shards))}
    return {}


def _single(repository: Repository, by_path: dict[str, RemoteFile]) -> dict[str, RemoteFile]:
    found = sorted(path for path in by_path if path.endswith(".safetensors"))
    if len(found) == 1:
        return {PurePosixPath(found[0]).name: by_path[found[0]]}
    if found:
        message = f"{repository.name} has {len(found)} models: {', '.join(found[:12])}"
        raise ScumbleError(ErrorCode.INVALID_FIELD, message, field="file", remedy=Remedy("Name one with --file"))
    pickles = [path for path in by_path if path.endswith((".ckpt", ".pt", ".pth", ".bin"))]
    message = f"{repository.name} has no .safetensors file"
    if pickles:
        message += "; its .ckpt, .pt or .bin files can run code when they are opened and are not taken"
    code = ErrorCode.MODEL_INVALID if pickles else ErrorCode.MODEL_MISSING
    raise ScumbleError(code, message, field="file", remedy=Remedy("Look for a .safetensors version of this model"))
