"""A server of our own on this machine: started without waiting, found by its record, ended with Blender.

The server's standard input is a pipe held open here. However Blender ends, the pipe closes and the server with it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from scumble_shared.runtime import ServerRecord, read_install_record, read_records

from .address import Address

__all__ = ["LocalServer", "address_of", "find_command", "running_server"]

START_TIMEOUT = 60.0
"""Seconds; a cold disk and a virus scanner make the first start slow."""

LOG_TAIL = 1500
FOREIGN_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONUSERBASE")
"""Set for Blender's Python; the server has its own."""


def find_command(preferred: str = "") -> tuple[str, ...]:
    """Program and arguments that run ``scumble serve``: the user's choice, the last installation used, or PATH.

    preferred: path of the ``scumble`` command, or of a Python that has it. Raises ScumbleError SERVER_UNREACHABLE
    when there is none.
    """
    if preferred:
        path = Path(preferred).expanduser()
        if not path.is_file():
            raise _not_installed(f"{path} isn't there")
        if path.stem.startswith("python"):
            return (str(path), "-m", "scumble_server.cli", "serve")
        return (str(path), "serve")
    if (record := read_install_record()) is not None:
        return record.command
    if found := shutil.which("scumble"):
        return (found, "serve")
    raise _not_installed("no Scumble server was found on this machine")


def running_server() -> Address:
    """Of a server somebody started here. Raises ScumbleError SERVER_UNREACHABLE when none runs."""
    records = read_records()
    if not records:
        raise ScumbleError(
            ErrorCode.SERVER_UNREACHABLE,
            "no server runs on this machine; start one with: scumble serve",
            retryable=True,
            remedy=Remedy("Try Again", RemedyAction.START_SERVER),
        )
    return address_of(records[0])


def address_of(record: ServerRecord) -> Address:
    return Address(record.url, record.token, record.fingerprint)


class LocalServer:
    """command: from :func:`find_command`. log: file for what the server says. variables: for its environment."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        arguments: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.instance_id = secrets.token_hex(8)
        self.log = log
        self._deadline = time.monotonic() + START_TIMEOUT
        own = ("--port", "0", "--instance-id", self.instance_id, "--exit-with-stdin")
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with log.open("wb") as file:
                self._process = subprocess.Popen(
                    [*command, *own, *arguments],
                    stdin=subprocess.PIPE,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env={**_environment(os.environ), **(variables or {})},
                    creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                    start_new_session=sys.platform != "win32",  # Ctrl-C in Blender's terminal isn't for the server
                )
        except OSError as error:
            raise _not_installed(f"{command[0]} can't be run: {error.strerror or error}") from None

    @property
    def pid(self) -> int:
        return self._process.pid

    def find(self) -> Address | None:
        """None while it is still starting. Raises ScumbleError SERVER_UNREACHABLE if it ended or takes too long."""
        self.check_alive("the server ended while it started")
        for record in read_records():
            if record.instance_id == self.instance_id:
                return address_of(record)
        if time.monotonic() > self._deadline:
            raise self._failure(f"the server wasn't ready within {START_TIMEOUT:.0f} s")
        return None

    def check_alive(self, message: str = "the server on this machine ended") -> None:
        """Raises ScumbleError SERVER_UNREACHABLE if it has ended."""
        if self._process.poll() is not None:
            raise self._failure(message)

    def stop(self, timeout: float = 5.0) -> None:
        """Asks it to end by closing its input, and makes sure that it does."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout)

    def _failure(self, message: str) -> ScumbleError:
        last = _last_line(self.log)
        return ScumbleError(
            ErrorCode.SERVER_UNREACHABLE,
            f"{message}: {last}" if last else message,
            retryable=True,
            remedy=Remedy("Start Server", RemedyAction.START_SERVER),
        )


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in FOREIGN_VARIABLES}


def _last_line(log: Path) -> str:
    try:
        lines = log.read_bytes()[-LOG_TAIL:].decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _not_installed(message: str) -> ScumbleError:
    return ScumbleError(
        ErrorCode.SERVER_UNREACHABLE,
        f"{message}; install it as the guide says, or choose its path in the preferences",
        field="server_path",
        remedy=Remedy("Open Preferences", RemedyAction.OPEN_PREFERENCES),
    )
