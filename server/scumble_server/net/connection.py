"""One websocket: three tasks that carry messages between the socket and a :class:`Session`.

The *reader* takes frames off the socket and handles at once what must not wait. The *handler* does the rest in
order, the heavy parts in a thread. The *writer* empties the mailbox as fast as the client reads.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial

from scumble_shared.codec import RAW, Assembler, Codecs, decode_binary, encode_frames, encode_text
from scumble_shared.errors import ScumbleError
from scumble_shared.limits import Limits
from scumble_shared.messages import ClientMessage, Identify
from scumble_shared.tensor import is_one_off
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from .arriving import CheckedTensor, check_upload, read_text
from .mailbox import Mailbox, Outgoing
from .session import Session

__all__ = ["CLOSE_NOT_IDENTIFIED", "CLOSE_TOO_SLOW", "Connection"]

logger = logging.getLogger(__name__)

CLOSE_INTERNAL_ERROR = 1011
CLOSE_NOT_IDENTIFIED = 4001
CLOSE_TOO_SLOW = 4008
INBOX_FRAMES = 16
UPLOADS_AHEAD = 4
"""Uploads of one client that are checked at the same time."""

THREAD_BYTES = 256 * 1024
"""Work on more bytes than this would hold up other connections, so it goes to a thread."""

UNHASHED_BYTES = 4 * 1024 * 1024
"""The same where nothing has to be hashed or unpacked: a few tenths of a millisecond for each megabyte."""


class Connection:
    """make_session: given the mailbox. look_for_models: of the service. identify_seconds: how long a client may take
    to say who it is.

    :meth:`run` returns when the connection is closed, by whomever.
    """

    def __init__(
        self,
        websocket: ServerConnection,
        limits: Limits,
        codecs: Codecs,
        make_session: Callable[[Mailbox], Session],
        look_for_models: Callable[[], Awaitable[None]],
        identify_seconds: float = 10.0,
    ) -> None:
        self._websocket = websocket
        self._limits = limits
        self._identify_seconds = identify_seconds
        self._codecs = codecs
        self._look_for_models = look_for_models
        self._news = asyncio.Event()
        self._mailbox = Mailbox(self._news.set)
        self.session = make_session(self._mailbox)
        self._inbox: asyncio.Queue[ClientMessage | bytes] = asyncio.Queue(INBOX_FRAMES)
        self._assembler = Assembler(limits)
        self._uploads: deque[asyncio.Task[None]] = deque()  # those in threads; each ends after those before it

    async def run(self) -> None:
        self.session.open()
        loop = asyncio.get_running_loop()
        overdue = loop.call_later(self._identify_seconds, self._check_identified)
        tasks = [asyncio.create_task(work()) for work in (self._read, self._handle, self._write)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            failed = [task for task in done if self._failed(task)]
            if failed:
                await self._websocket.close(CLOSE_INTERNAL_ERROR)
        finally:
            overdue.cancel()
            tasks += self._uploads
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.session.close()

    def _failed(self, task: asyncio.Task[None]) -> bool:
        """Whether it ended for another reason than the end of the connection."""
        error = task.exception()
        if error is None or isinstance(error, ConnectionClosed):
            return False
        logger.error("a connection ended by an error of the server's own", exc_info=error)
        return True

    def _check_identified(self) -> None:
        if not self.session.identified:
            self._closing = asyncio.ensure_future(self._websocket.close(CLOSE_NOT_IDENTIFIED, "no identify came"))

    # --- the three tasks ----------------------------------------------------------------------------

    async def _read(self) -> None:
        async for data in self._websocket:
            if isinstance(data, bytes):
                await self._inbox.put(data)
                continue
            message, problem = read_text(data, self._limits)
            if problem is not None:
                self._mailbox.post(Outgoing(problem))
            elif message is not None and not self.session.overtakes(message):
                await self._inbox.put(message)

    async def _handle(self) -> None:
        while True:
            item = await self._inbox.get()
            if isinstance(item, bytes):
                await self._upload(item)
                continue
            await self._wait_for_uploads(0)
            if self.session.needs_look(item):
                await self._look_for_models()
            self.session.handle(item)
            if isinstance(item, Identify) and self.session.identified:
                # "ready" doesn't wait for it; "models_changed" follows if need be
                self._looking = asyncio.ensure_future(self._look_for_models())

    async def _upload(self, data: bytes) -> None:
        """A large one is checked in a thread while the next one travels; a message that follows waits for it."""
        try:
            whole = self._assembler.feed(data)
        except ScumbleError as error:
            await self._wait_for_uploads(0)
            self.session.report(error)
            return
        if whole is None:
            return
        if len(whole) <= THREAD_BYTES or (len(whole) <= UNHASHED_BYTES and self._is_light(whole)):
            await self._wait_for_uploads(0)
            self._keep(partial(self._unpack, whole))
            return
        await self._wait_for_uploads(UPLOADS_AHEAD - 1)
        before = self._uploads[-1] if self._uploads else None
        self._uploads.append(asyncio.create_task(self._check(whole, before)))

    def _is_light(self, whole: bytes | memoryview) -> bool:
        """Whether nothing in this upload has to be hashed or unpacked."""
        try:
            tensors = decode_binary(whole, ClientMessage, self._limits, RAW).message.tensors
        except ScumbleError:
            return False
        return all(is_one_off(info.digest) for info in tensors)

    async def _check(self, whole: bytes | memoryview, before: asyncio.Task[None] | None) -> None:
        checking = asyncio.ensure_future(asyncio.to_thread(self._unpack, whole))
        await asyncio.wait([checking] if before is None else [checking, before])
        self._keep(checking.result)

    def _keep(self, unpacked: Callable[[], list[CheckedTensor]]) -> None:
        try:
            tensors = unpacked()
        except ScumbleError as error:
            self.session.report(error)
        else:
            self.session.store(tensors)

    async def _wait_for_uploads(self, left: int) -> None:
        """Until no more than ``left`` are still being checked."""
        while len(self._uploads) > left:
            await self._uploads.popleft()

    def _unpack(self, whole: bytes | memoryview) -> list[CheckedTensor]:
        return check_upload(decode_binary(whole, ClientMessage, self._limits, self._codecs))

    async def _write(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while (outgoing := self._mailbox.take()) is not None:
                await self._send(outgoing)
            if self._mailbox.overflowed:
                await self._websocket.close(CLOSE_TOO_SLOW, "too slow; connect again to resume")
                return

    async def _send(self, outgoing: Outgoing) -> None:
        if not outgoing.tensors:
            await self._websocket.send(encode_text(outgoing.message))
            return
        compressed = any(self.session.codec_for(array) != "raw" for array in outgoing.tensors)
        frames = await asyncio.to_thread(self._encode, outgoing) if compressed else self._encode(outgoing)
        for frame in frames:
            await self._websocket.send(frame)

    def _encode(self, outgoing: Outgoing) -> Iterator[bytes]:
        message = outgoing.message
        infos = tuple(
            replace(info, codec=self.session.codec_for(array))
            for info, array in zip(message.tensors, outgoing.tensors, strict=True)  # type: ignore[union-attr]
        )
        described = replace(message, tensors=infos)  # type: ignore[arg-type]
        return encode_frames(described, outgoing.tensors, self._limits, self._codecs, lossy=outgoing.lossy)  # type: ignore[arg-type]
