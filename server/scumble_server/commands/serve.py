"""``scumble serve``: run the server on this machine until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from scumble_shared import __version__
from scumble_shared.errors import ErrorCode, Remedy, ScumbleError
from scumble_shared.runtime import (
    ServerRecord,
    remove_record,
    write_record,
)

from ..engines.choose import ENGINES, foreign_service
from ..installation import remember_installation
from ..models.library import Library
from ..models.manager import ModelManager
from ..models.scan import default_model_dirs
from ..models.shelf import Shelf
from ..net.codecs import EDGE_CODECS
from ..net.guard import check_bind
from ..net.server import EdgeOptions, NetServer
from ..net.tls import Certificate, load_certificate, self_signed
from ..workers.library_service import LibraryService
from ..workers.service import WorkerService, engine_service
from ..workers.spec import ExecutorSpec

__all__ = ["add_arguments", "run"]

logger = logging.getLogger(__name__)

TOKEN_LENGTH_MIN = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; others than this machine need TLS")
    parser.add_argument("--port", type=int, default=0, help="0, the default, is any free one")
    parser.add_argument("--models", type=Path, nargs="+", action="extend", default=[], metavar="DIR")
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")
    parser.add_argument("--compile", action="store_true", help="make kernels for the models in the background (CUDA)")
    parser.add_argument("--name", action="append", default=[], help="another host name clients may call this server by")
    parser.add_argument("--tls-cert", type=Path, metavar="PEM")
    parser.add_argument("--tls-key", type=Path, metavar="PEM")
    parser.add_argument("--self-signed", action="store_true", help="encrypt with a certificate made now")
    parser.add_argument("--token-file", type=Path, help="file with the token clients need; without it one is made")
    parser.add_argument("--instance-id", default="", help="for whoever starts it, to know its record from others")
    parser.add_argument("--exit-with-stdin", action="store_true", help="stop when standard input is closed")
    parser.add_argument(
        "--engine",
        default="own",
        choices=("own", *ENGINES),
        help="who paints (default: own), see docs/other-engines.md",
    )
    parser.add_argument(
        "--engine-url", default="", metavar="URL", help="where that program runs; default: its usual address"
    )
    parser.add_argument("--executor", default="", metavar="MODULE:NAME", help="what does the work, for developers")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))


def run(arguments: argparse.Namespace) -> int:
    logging.basicConfig(
        level=arguments.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    logging.getLogger("websockets").setLevel(logging.WARNING)  # its debug output shows what is sent
    asyncio.run(_serve(arguments))
    return 0


async def _serve(arguments: argparse.Namespace) -> None:
    certificate = _certificate(arguments)
    check_bind(arguments.host, tls=certificate is not None)
    options = EdgeOptions(
        token=_token(arguments.token_file),
        instance_id=arguments.instance_id or secrets.token_hex(8),
        host=arguments.host,
        port=arguments.port,
        tls=certificate.context if certificate else None,
        names=tuple(arguments.name),
        codecs=EDGE_CODECS,
    )
    stop = _stop_event(arguments.exit_with_stdin)
    service = _service(arguments)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(service.close)
        try:
            edge = await stack.enter_async_context(NetServer.open(service, options))
        except OSError as error:
            raise ScumbleError(
                ErrorCode.UNSUPPORTED,
                f"can't listen on {arguments.host}, port {arguments.port}: {error.strerror or error}",
                field="--port",
                remedy=Remedy("Use another port, or 0 for any free one"),
            ) from None
        record = _publish(edge, options, certificate)
        stack.callback(remove_record, record)
        service.start()
        print(f"Scumble {__version__} is ready at {edge.url} (Ctrl-C stops it)", flush=True)
        await stop.wait()


def _service(arguments: argparse.Namespace) -> LibraryService:
    folders = (*(path.resolve() for path in arguments.models), *default_model_dirs())
    manager = ModelManager(Shelf(Library(), folders))
    return LibraryService(_worker(arguments, folders), manager)


def _worker(arguments: argparse.Namespace, folders: tuple[Path, ...]) -> WorkerService:
    if arguments.executor:
        return WorkerService(ExecutorSpec(arguments.executor))
    if arguments.engine != "own":
        return foreign_service(arguments.engine, arguments.engine_url)
    return engine_service(folders, arguments.device, compiles=arguments.compile)


def _publish(edge: NetServer, options: EdgeOptions, certificate: Certificate | None) -> ServerRecord:
    """Let clients on this machine find the server, and find it again when it doesn't run."""
    record = ServerRecord(
        port=edge.port,
        pid=os.getpid(),
        instance_id=options.instance_id,
        token=options.token,
        url=edge.url,
        version=__version__,
        fingerprint=certificate.fingerprint if certificate else "",
        started=time.time(),
    )
    path = write_record(record)
    remember_installation()
    logger.info("address and token are in %s", path)
    if certificate is not None:
        logger.info("certificate fingerprint (SHA-256): %s", certificate.fingerprint)
    return record


def _token(path: Path | None) -> str:
    if path is None:
        return secrets.token_urlsafe(32)
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ScumbleError(
            ErrorCode.UNAUTHORIZED, f"can't read the token in {path}: {error}", field="--token-file"
        ) from None
    if len(token) < TOKEN_LENGTH_MIN or not token.isprintable() or " " in token:
        raise ScumbleError(
            ErrorCode.UNAUTHORIZED,
            f"the token in {path} is too easy to guess; it needs {TOKEN_LENGTH_MIN} characters without spaces",
            field="--token-file",
            remedy=Remedy('Make one: python -c "import secrets; print(secrets.token_urlsafe(32))"'),
        )
    return token


def _certificate(arguments: argparse.Namespace) -> Certificate | None:
    if arguments.tls_cert or arguments.tls_key:
        return load_certificate(arguments.tls_cert, arguments.tls_key)
    if arguments.self_signed:
        return self_signed((arguments.host, *arguments.name))
    return None


def _stop_event(with_stdin: bool) -> asyncio.Event:
    """Set by Ctrl-C, by a request to terminate, or when the parent's end of standard input is gone."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask(*_: object) -> None:
        loop.call_soon_threadsafe(stop.set)

    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), ask)
    if with_stdin:
        threading.Thread(target=_wait_for_end_of_input, args=(ask,), name="stdin", daemon=True).start()
    return stop


def _wait_for_end_of_input(then: Callable[[], None]) -> None:
    """Reads the descriptor itself: a daemon thread holding ``sys.stdin``'s lock would hang the interpreter's exit."""
    while True:
        try:
            if not os.read(0, 4096):
                break
        except OSError:
            break
    then()
