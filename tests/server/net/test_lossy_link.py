"""Client and server session, talking over a link that loses whatever is under way, again and again.

Whatever the order of submitting, cancelling, stepping, losing the connection and replacing the server: every job
ends exactly once, with its own picture, and its events come in order and without gaps.
"""

from __future__ import annotations

from collections import deque
from itertools import count, pairwise

import numpy as np
from desk import Desk, paint
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from scumble_server.net.arriving import KnownTensors, check_upload, read_text
from scumble_server.net.journal import Journal
from scumble_server.net.mailbox import Mailbox
from scumble_server.net.session import Session
from scumble_shared.client import UPLOAD_ATTEMPTS, Arrived, ClientSession, ClientState
from scumble_shared.codec import RAW, Assembler, decode_binary, encode_frames, encode_text
from scumble_shared.job import GenerateJob
from scumble_shared.limits import Limits
from scumble_shared.messages import (
    Accepted,
    Cancelled,
    ClientMessage,
    Failed,
    Hello,
    Problem,
    Result,
    Started,
)
from scumble_shared.tensor import digest_of

LIMITS = Limits(message_bytes=4096)  # so that uploads and results travel in pieces
ENDS = (Result, Failed, Cancelled, Problem)


class Server:
    """One server instance; connections to it come and go."""

    def __init__(self, number: int) -> None:
        self.hello = Hello("test", f"instance-{number}", limits=LIMITS)
        self.desk = Desk()
        self.clock = 0.0
        self.journal = Journal(self.desk, LIMITS, lambda: self.clock)
        self.tensors = KnownTensors()


class Line:
    """One connection: two queues of frames, and the server's end of it."""

    def __init__(self, server: Server) -> None:
        self.to_server: deque[str | bytes] = deque()
        self.to_client: deque[str | bytes] = deque()
        self.mailbox = Mailbox(lambda: None)
        self.assembler = Assembler(LIMITS)
        self.session = Session(
            hello=server.hello,
            service=server.desk,
            journal=server.journal,
            tensors=server.tensors,
            mailbox=self.mailbox,
            codecs=RAW,
            local=True,
            owner="client",
        )
        self.session.open()

    def server_hears(self) -> None:
        """What net/connection.py does with a frame."""
        data = self.to_server.popleft()
        if isinstance(data, bytes):
            whole = self.assembler.feed(data)
            if whole is not None:
                self.session.store(check_upload(decode_binary(whole, ClientMessage, LIMITS)))
            return
        message, problem = read_text(data, LIMITS)
        assert problem is None
        if not self.session.overtakes(message):
            self.session.handle(message)

    def server_sends(self) -> bool:
        outgoing = self.mailbox.take()
        if outgoing is None:
            return False
        if outgoing.tensors:
            self.to_client.extend(encode_frames(outgoing.message, outgoing.tensors, LIMITS))
        else:
            self.to_client.append(encode_text(outgoing.message))
        return True


class LossyLink(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.numbers = count()
        self.server = Server(next(self.numbers))
        self.client = ClientSession("test")
        self.line: Line | None = None
        self.jobs: dict[str, GenerateJob] = {}
        self.events: dict[str, list[Arrived]] = {}
        self.cancelled: set[str] = set()
        self.evictions = 0
        self.unnoticed: list[Session] = []

    # --- what may happen -----------------------------------------------------------------------

    @rule(seed=st.integers(0, 3), with_image=st.booleans(), prompt=st.sampled_from(["", "fail"]))
    def submit(self, seed: int, with_image: bool, prompt: str) -> None:
        image = np.full((40, 40, 3), seed, np.uint8)
        job = GenerateJob(
            prompt,
            model="brush",
            width=40,
            height=40,
            num_inference_steps=2,
            seed=seed,
            init_image=digest_of(image) if with_image else None,
        )
        job_id = f"job-{len(self.jobs)}"
        self.jobs[job_id] = job
        self.events[job_id] = []
        self.client.submit(job_id, job, {digest_of(image): image})

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.jobs)))
        self.cancelled.add(job_id)
        self.note(self.client.cancel(job_id))

    @precondition(lambda self: self.line is None)
    @rule()
    def connect(self) -> None:
        self.line = Line(self.server)
        self.client.connected()

    @precondition(lambda self: self.line is not None)
    @rule(server_notices=st.booleans())
    def lose_connection(self, server_notices: bool) -> None:
        """What is under way is lost. The server may go on believing in the old connection."""
        if server_notices:
            self.line.session.close()
        else:
            self.unnoticed.append(self.line.session)
        self.line = None
        self.client.disconnected()

    @rule()
    def replace_server(self) -> None:
        if self.line is not None:
            self.lose_connection(True)
        self.server = Server(next(self.numbers))

    @precondition(lambda self: self.server.desk.store)
    @rule()
    def evict_tensors(self) -> None:
        self.evictions += 1
        needed = {task.job.init_image for task in self.server.desk.queue}
        self.server.desk.store = {d: a for d, a in self.server.desk.store.items() if d in needed}

    @rule(steps=st.integers(1, 4))
    def work(self, steps: int) -> None:
        for _ in range(steps):
            self.server.desk.step()

    @precondition(lambda self: self.line is not None)
    @rule(rounds=st.integers(1, 4), steps=st.integers(0, 2))
    def talk(self, rounds: int, steps: int) -> None:
        """All of it in turn, as far as it gets."""
        for _ in range(rounds):
            self.client_sends(4)
            self.server_hears(4)
            self.work(steps)
            self.server_sends(4)
            self.client_hears(4)

    @rule(rounds=st.integers(1, 3), server_notices=st.booleans())
    def reconnect(self, rounds: int, server_notices: bool) -> None:
        if self.line is not None:
            self.lose_connection(server_notices)
        self.connect()
        self.talk(rounds, 0)

    @precondition(lambda self: self.line is not None)
    @rule(frames=st.integers(1, 6))
    def client_sends(self, frames: int) -> None:
        for _ in range(frames):
            frame = self.client.next_frame()
            if frame is not None:
                self.line.to_server.append(frame)

    @precondition(lambda self: self.line is not None)
    @rule(frames=st.integers(1, 6))
    def server_hears(self, frames: int) -> None:
        for _ in range(min(frames, len(self.line.to_server))):
            self.line.server_hears()

    @precondition(lambda self: self.line is not None)
    @rule(messages=st.integers(1, 4))
    def server_sends(self, messages: int) -> None:
        for _ in range(messages):
            self.line.server_sends()

    @precondition(lambda self: self.line is not None)
    @rule(frames=st.integers(1, 6))
    def client_hears(self, frames: int) -> None:
        for _ in range(min(frames, len(self.line.to_client))):
            self.note(self.client.receive(self.line.to_client.popleft()))

    def note(self, arrived: list[Arrived]) -> None:
        for item in arrived:
            job_id = getattr(item.message, "job_id", "")
            if job_id:
                events = self.events[job_id]
                assert not (events and isinstance(events[-1].message, ENDS)), "something after the end"
                events.append(item)

    # --- what must hold ------------------------------------------------------------------------

    @invariant()
    def pending_jobs_are_those_without_an_end(self) -> None:
        unended = [j for j, events in self.events.items() if not (events and isinstance(events[-1].message, ENDS))]
        assert sorted(self.client.pending) == sorted(unended)

    def teardown(self) -> None:
        """Leave it alone for a while: everything ends as it should, and the server forgets all of it."""
        if self.line is None:
            self.connect()
        for _ in range(1000):
            if not (self.client.pending or self.client.state is not ClientState.READY or self.busy()):
                break
            self.client_sends(100)
            self.server_hears(100)
            self.work(4)
            self.server_sends(100)
            self.client_hears(100)
        self.talk(1, 0)  # the last acknowledgements
        assert self.client.pending == (), "jobs that never end"
        for job_id, events in self.events.items():
            self.check_story(job_id, events)
        for session in [*self.unnoticed, self.line.session]:
            session.close()
        self.server.clock = 1e9
        self.server.journal.expire()
        while self.server.desk.step():
            pass
        self.server.journal.expire()
        assert len(self.server.journal) == 0
        assert self.server.journal.kept_bytes == 0

    def busy(self) -> bool:
        return bool(self.line.to_server or self.line.to_client)

    def check_story(self, job_id: str, events: list[Arrived]) -> None:
        last = events[-1]
        job = self.jobs[job_id]
        match last.message:
            case Result():
                expected = np.full((40, 40, 3), 255 - job.seed) if job.init_image else paint(job)
                np.testing.assert_array_equal(last.tensors["image/0"], expected)
            case Failed():
                assert job.prompt == "fail"
            case Cancelled():
                assert job_id in self.cancelled
            case _:
                assert self.evictions >= UPLOAD_ATTEMPTS, f"{job_id} ended with {last.message}"
        reliable = [e.message for e in events if isinstance(e.message, Accepted | Started | Result | Failed)]
        for before, after in pairwise(reliable):
            assert after.seq == before.seq + 1 or after.seq == 1, "1 is another server's first event"


LossyLink.TestCase.settings = settings(max_examples=120, stateful_step_count=40)
TestLossyLink = LossyLink.TestCase
