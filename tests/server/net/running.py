"""A real server on a real socket, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

from desk import Desk
from scumble_server.net.server import EdgeOptions, NetServer
from websockets.sync.client import connect as open_websocket

TOKEN = "a-token-for-tests-of-thirty-two-chars"


@dataclass
class Running:
    """A server that runs. ``on_loop`` does something where its objects may be touched."""

    edge: NetServer
    desk: Desk
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        return self.edge.url

    @property
    def port(self) -> int:
        return self.edge.port

    def on_loop(self, action: Callable[[], object]) -> object:
        async def act() -> object:
            return action()

        return asyncio.run_coroutine_threadsafe(act(), self.loop).result(10)

    def open(self, **options):
        """A bare websocket, as an honest client would open it but for ``options``."""
        headers = {"Authorization": f"Bearer {TOKEN}", **options.pop("headers", {})}
        options = {"subprotocols": ["scumble.v1"], "compression": None, "proxy": None, **options}
        return open_websocket(options.pop("url", self.url), additional_headers=headers, **options)


@contextmanager
def running(desk: Desk | None = None, *, working: bool = True, **options):
    """working: the desk does its steps by itself."""
    desk = desk or Desk()
    ready: Future[tuple[NetServer, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        stop = asyncio.Event()
        async with NetServer.open(desk, EdgeOptions(TOKEN, "instance", **options)) as edge:
            work = asyncio.create_task(desk.work()) if working else None
            ready.set_result((edge, asyncio.get_running_loop(), stop))
            await stop.wait()
            if work is not None:
                work.cancel()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    edge, loop, stop = ready.result(10)
    try:
        yield Running(edge, desk, loop)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
    assert not thread.is_alive()
