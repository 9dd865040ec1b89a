"""The one session of this Blender, and how it connects by the preferences."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path

import bpy
from scumble_shared.errors import ScumbleError

from . import pump
from .apply import overlay, results
from .compat import register_exit, unregister_exit
from .connection.address import Address, check_allowed
from .connection.server_process import find_command, running_server
from .identity import CLIENT, PACKAGE
from .preferences import download_settings, engine_arguments, preferences
from .prepare import prepare
from .session import ConnectionState, Session
from .state import install, session

__all__ = ["connect", "ensure_connection", "register", "unregister"]


def connect() -> None:
    """Connects, or starts the server, as the preferences say. Raises ScumbleError when that can't even begin."""
    current, wanted = session(), preferences()
    try:
        if wanted.connection == "LOCAL":
            arguments = [*engine_arguments(wanted), *shlex.split(wanted.server_arguments)]
            command = find_command(bpy.path.abspath(wanted.server_path))
            current.start_server(command, _log_file(), arguments, download_settings(wanted))
        elif wanted.connection == "RUNNING":
            find = partial(_running_server, bpy.app.online_access)
            current.connect(find(), find)
        else:
            address = Address(wanted.url.strip(), wanted.token.strip(), wanted.fingerprint.strip())
            check_allowed(address, bpy.app.online_access)
            current.connect(address)
    except ScumbleError as error:
        current.fail(error.info)
        raise
    pump.ensure_running()


def ensure_connection() -> None:
    """Connects unless there is a connection, or one on its way."""
    if session().state in (ConnectionState.OFF, ConnectionState.FAILED):
        connect()
    pump.ensure_running()


def _running_server(online_access: bool) -> Address:
    address = running_server()
    check_allowed(address, online_access)
    return address


def _log_file() -> Path:
    return Path(bpy.utils.extension_path_user(PACKAGE, create=True)) / "server.log"


@bpy.app.handlers.persistent
def _quit(*_: object) -> None:
    """Blender doesn't switch extensions off when it quits."""
    overlay.clear()
    session().disconnect()


def register() -> None:
    install(Session(CLIENT, prepare, results.apply_result, results.show_preview))
    register_exit(_quit)


def unregister() -> None:
    unregister_exit(_quit)
    session().disconnect(wait=True)
    install(None)
