"""How a client finds a server on this machine, without anybody typing a port or a token.

A running server keeps a *record* (address, token, process id) in a file only its user can read. An installation
leaves the command that starts a server. Both live under one folder::

    Linux    $XDG_DATA_HOME/scumble, or ~/.local/share/scumble
    macOS    ~/Library/Application Support/Scumble
    Windows  %LOCALAPPDATA%\\Scumble
    any      $SCUMBLE_HOME, if it is set
"""

from __future__ import annotations

import ctypes
import os
import secrets
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import ScumbleError
from .schema import decode, dumps, loads

__all__ = [
    "InstallRecord",
    "ServerRecord",
    "data_dir",
    "models_dir",
    "process_runs",
    "read_install_record",
    "read_records",
    "remove_record",
    "run_dir",
    "write_install_record",
    "write_record",
]


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """A running server. url: "ws://127.0.0.1:PORT" or "wss://...". token: for the Authorization header.

    instance_id: made by whoever started it, or random; tells this run from every other.
    fingerprint: SHA-256 of its certificate, hexadecimal, "" without TLS. started: seconds since 1970.
    """

    port: int
    pid: int
    instance_id: str
    token: str = field(repr=False)
    url: str
    version: str
    fingerprint: str = ""
    started: float = 0.0


@dataclass(frozen=True, slots=True)
class InstallRecord:
    """command: program and arguments that run ``scumble serve``; more arguments may follow."""

    command: tuple[str, ...]
    version: str


def data_dir(environment: Mapping[str, str] | None = None, platform: str = sys.platform) -> Path:
    """Scumble's folder for this user; it need not exist."""
    variables = os.environ if environment is None else environment
    if home := variables.get("SCUMBLE_HOME"):
        return Path(home)
    if platform == "win32":
        local = variables.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "Scumble"
    if platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "Scumble"
    xdg = variables.get("XDG_DATA_HOME", "")
    return (Path(xdg) if xdg.startswith("/") else Path.home() / ".local" / "share") / "scumble"


def run_dir() -> Path:
    """Where records of running servers are."""
    return data_dir() / "run"


def models_dir() -> Path:
    """Where an artist may put models."""
    return data_dir() / "models"


# --- running servers --------------------------------------------------------------------------------


def write_record(record: ServerRecord) -> Path:
    """Publish a running server; replaces what was said about that port. Returns the file."""
    path = run_dir() / f"server-{record.port}.json"
    _write_private(path, dumps(record))
    return path


def remove_record(record: ServerRecord) -> None:
    """Take back what :meth:`write_record` said, unless another server has the port by now."""
    path = run_dir() / f"server-{record.port}.json"
    current = _read(path, ServerRecord)
    if current is not None and current.instance_id == record.instance_id:
        path.unlink(missing_ok=True)


def read_records() -> list[ServerRecord]:
    """Servers that run now, latest first. Records whose process is gone are deleted; unreadable ones are skipped."""
    records = []
    for path in run_dir().glob("server-*.json"):
        record = _read(path, ServerRecord)
        if record is None:
            continue
        if process_runs(record.pid):
            records.append(record)
        else:
            path.unlink(missing_ok=True)
    return sorted(records, key=lambda record: record.started, reverse=True)


def process_runs(pid: int) -> bool:
    """Whether a process of this id exists now."""
    if pid <= 0:
        return False
    if sys.platform == "win32":
        return _windows_process_runs(pid)
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def _windows_process_runs(pid: int) -> bool:
    """``os.kill(pid, 0)`` would end the process there."""
    query_limited_information, still_active = 0x1000, 259
    kernel32: Any = getattr(ctypes, "windll").kernel32  # noqa: B009  not defined on other systems
    handle = kernel32.OpenProcess(query_limited_information, False, pid)
    if not handle:
        return False
    code = ctypes.c_ulong()
    answered = kernel32.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel32.CloseHandle(handle)
    return bool(answered) and code.value == still_active


# --- the installation -------------------------------------------------------------------------------


def write_install_record(record: InstallRecord) -> Path:
    """Remember how a server is started on this machine. Returns the file."""
    path = data_dir() / "install.json"
    if _read(path, InstallRecord) != record:
        _write_private(path, dumps(record))
    return path


def read_install_record() -> InstallRecord | None:
    """None if no server was installed, or its program is gone."""
    record: InstallRecord | None = _read(data_dir() / "install.json", InstallRecord)
    if record is None or not record.command or not Path(record.command[0]).exists():
        return None
    return record


# --- files ------------------------------------------------------------------------------------------


def _write_private(path: Path, text: str) -> None:
    """Readable by this user alone from its first byte on, and never half written."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise


def _read(path: Path, kind: Any) -> Any:
    try:
        return decode(kind, loads(path.read_bytes()))
    except (OSError, ScumbleError):
        return None
