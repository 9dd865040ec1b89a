"""The loop of live mode, on Blender's main thread: notice, capture, submit, show; a few milliseconds a turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import bpy
from scumble_shared.errors import ErrorCode, ErrorInfo, ScumbleError
from scumble_shared.tensor import AnyArray

from .. import pump
from ..apply import results
from ..apply.overlay import Look
from ..capture import ready_to_capture
from ..choices import model_info
from ..jobs import JobRecord, JobState
from ..preferences import preferences
from ..prepare import Painting
from ..session import ConnectionState
from ..state import session
from ..status import sentence, why_not_generate
from .adapt import Controller, Quality, ladder
from .beat import LOOK_INTERVAL, OFTEN, Beat
from .display import Display, look_of, tag_sidebars, tag_viewports
from .frames import Frame, at_place, look, same
from .schedule import Cancel, Policy, Schedule, Start
from .sculpting import Strokes
from .timing import Timings
from .watch import Place, Watch, find_place, place_key, settings_key, why_paused

__all__ = ["Painter"]

HURRY_AFTER_CHANGE = 0.5
"""Seconds after a change in which another is likely, and wouldn't be waited for."""

WORTH_PREVIEWS = 0.3
"""Seconds a job must be expected to take before its steps are worth showing."""

FEWEST_STEPS = 4
"""Of a draft, unless the model is made for few steps."""

FEW_STEPS, FEW_STEPS_GUIDANCE = 8, 2.0
"""Models whose own defaults aren't beyond these are made for few steps."""

TELL_INTERVAL = 0.5
"""Seconds between two redraws of the sidebars for the status alone."""

CONNECTION_COMING = (ConnectionState.STARTING, ConnectionState.CONNECTING, ConnectionState.LOST)

FIRST_GUESS = 1.0
"""Seconds expected of a job before anything was measured."""


@dataclass(slots=True)
class _Sent:
    """version: of the scene, as the watch counts. at: when."""

    frame: Frame
    version: int
    quality: Quality
    refine: bool
    at: float
    loaded: bool = False  # the server had to load the model for it


class Painter:
    """area_pointer: the viewport where it was begun (``Area.as_pointer``), 0 for any. ended_by_error: called if it must
    be stopped.

    latest: the newest finished job, with a :class:`Painting`. latest_spare: what its frame has besides. status: what it
    does, for the panel. pictures: finished.
    """

    def __init__(self, area_pointer: int, ended_by_error: Callable[[], None]) -> None:
        self.timings = Timings()
        self.latest: JobRecord | None = None
        self.latest_spare: Mapping[str, AnyArray] = {}
        self.refined = False  # what is shown is of the artist's own quality
        self.pictures = self.submitted = 0
        self.paused = ""  # why
        self.pause_passes = True  # by itself, with nothing for the artist to do
        self.trouble = ""  # why the view can't be painted as it is
        self._area_pointer = area_pointer
        self._ended_by_error = ended_by_error
        self._schedule = Schedule()
        self._controller: Controller | None = None
        self._controller_key: tuple[object, ...] = ()
        self._seen: tuple[object, ...] = ()  # key of what is to be seen
        self._place_seen: tuple[object, ...] = ()
        self._sent: dict[str, _Sent] = {}
        self._draft: Frame | None = None  # of the newest draft
        self._draft_quality: Quality | None = None
        self._draft_version = 0  # of the scene in it
        self._ended_at = 0.0  # the job before
        self._refused: tuple[object, ...] = ()  # settings with which the last job failed for good
        self._beat = Beat(self._fire)
        self._turned_at = self._changed_at = 0.0
        self._watch = Watch(self._beat.wake)
        self._display = Display(lambda: self._watch.version, self._look_at_region, self.timings.draws)
        self._strokes = Strokes()
        self._running = False
        self._look_wanted = Look()
        self._told, self._told_at = "", 0.0

    @property
    def quality(self) -> Quality | None:
        """Of the next draft."""
        return self._controller.quality if self._controller else None

    @property
    def idle(self) -> bool:
        """Whether nothing is left to be done for what is to be seen now, as of the last turn."""
        schedule = self._schedule
        return not (schedule.flying or schedule.wake_at() is not None or self._watch.changed or self._strokes.owed)

    # --- on and off ---------------------------------------------------------------------------------

    def start(self) -> None:
        self._running = True
        self._watch.start()
        self._display.start()
        pump.followers.append(self.turn)
        self._beat.wake()

    def stop(self) -> None:
        """Leaves nothing behind: no job, handler, timer, or picture in the viewport."""
        if not self._running:
            return
        self._running = False
        pump.followers[:] = [follow for follow in pump.followers if follow != self.turn]
        self._beat.stop()
        self._watch.stop()
        self._display.stop()
        for job_id in self._schedule.flying:
            self._give_up(job_id)
            self._forget(job_id)
        self._sent.clear()
        self._draft = None

    # --- when there is a turn -----------------------------------------------------------------------

    @property
    def resting(self) -> bool:
        """Whether nothing of ours is called until something happens."""
        return not self._beat.coming

    def _fire(self) -> float | None:
        """By our own timer. Nearly all of its calls find nothing new, and cost next to nothing."""
        if self._has_news():
            pump.step()
        return self._next_interval() if self._running else None

    def _has_news(self) -> bool:
        now, at = time.perf_counter(), self._schedule.wake_at()
        due = now - self._turned_at >= LOOK_INTERVAL or (at is not None and now >= at)
        return due or self._beat.called or session().has_news

    def _next_interval(self) -> float | None:
        if self._schedule.flying:
            return OFTEN
        if self._watch.changed or self._strokes.owed:
            return LOOK_INTERVAL
        at = self._schedule.wake_at()
        return None if at is None else max(OFTEN, at - time.perf_counter())

    def _look_at_region(self) -> None:
        """While a viewport is drawn: has the one that counts moved?"""
        area = bpy.context.area
        place = find_place(self._area_pointer)
        if place is None or area is None or area.as_pointer() != place[1].as_pointer():
            return
        if place_key(area, bpy.context.region) != self._place_seen:
            self._beat.wake()

    def turn(self) -> None:
        """Everything there is to do now. Called from :func:`pump.step`, by our timer, the pump's or a script."""
        ours, self._beat.busy = self._beat.busy, True
        finished = False
        try:
            self._take_turn()
            finished = True
        finally:
            self._beat.busy = ours
            if not finished:
                self._break_down()
        if not ours:
            self._beat.ensure(self._next_interval())

    def _break_down(self) -> None:
        """An error nobody foresaw ends live mode, not Blender's timers; the system console has it."""
        self._ended_by_error()
        session().report(ErrorInfo(ErrorCode.INTERNAL, "live mode ended by an error; the system console tells which"))
        if not bpy.app.background:
            bpy.app.timers.register(pump.ensure_running, first_interval=LOOK_INTERVAL)

    def _take_turn(self) -> None:
        begin = now = self._turned_at = time.perf_counter()
        self._beat.called = False
        place = find_place(self._area_pointer)
        with at_place(place):
            if bpy.app.background:
                bpy.context.view_layer.update()  # nobody else evaluates what a script has changed
            self._hear(now)
            self._pause_or_resume(place, now)
            self._notice(place, now)
            captured = 0.0
            for action in self._schedule.decide(now):
                if isinstance(action, Cancel):
                    self._give_up(action.job_id)
                elif ready_to_capture():
                    captured = self._begin(action)
                else:
                    tag_viewports()  # it will be decided again in the next turn
            self._hurry_or_rest(place, now)
        self._tell_status(now)
        self.timings.turns.append(time.perf_counter() - begin - captured)

    def _hurry_or_rest(self, place: Place | None, now: float) -> None:
        """Blender's loop must not sleep while a picture, or the next change, is awaited any moment."""
        awaited = self._schedule.flying or now - self._changed_at < HURRY_AFTER_CHANGE
        self._beat.hurry(place[0] if awaited and place is not None and not self.paused else None)

    # --- what to watch ------------------------------------------------------------------------------

    def _pause_or_resume(self, place: Place | None, now: float) -> None:
        reason = why_paused()
        self.pause_passes = bool(reason) or session().state in CONNECTION_COMING
        reason = reason or self._why_not(place)
        if reason != self.paused:
            self.paused = reason
            session().changes += 1
        if reason:
            self._schedule.pause()
        else:
            self._schedule.resume(now)

    def _why_not(self, place: Place | None) -> str:
        scene = bpy.context.scene
        settings = scene.scumble
        if place is None and settings.source == "VIEWPORT":
            return "No 3D viewport is on screen"
        if session().state in (ConnectionState.OFF, ConnectionState.FAILED):
            return "Not connected"
        if session().state in CONNECTION_COMING:
            return "Waiting for the server"
        if reason := why_not_generate(settings, scene.camera is not None):
            return reason
        if self._refused and self._refused == settings_key(scene):
            return self.trouble
        return ""

    def _notice(self, place: Place | None, now: float) -> None:
        """Compares values; the picture itself isn't looked at."""
        if self.paused:
            return
        scene = bpy.context.scene
        self._look_wanted = look_of(scene.scumble.live)
        follows_view = scene.scumble.source == "VIEWPORT" and place is not None
        self._place_seen = place_key(*place[1:]) if place is not None else ()
        seen = (settings_key(scene), self._place_seen if follows_view else ())
        if seen != self._seen or self._watch.changed or self._strokes.due:
            self._seen = seen
            self._watch.changed = False
            self._changed_at = now
            self._schedule.changed(now)
        self._adapt_to(scene)

    def _adapt_to(self, scene: bpy.types.Scene) -> None:
        """A ladder and a rhythm for the settings as they are."""
        settings = scene.scumble
        live = settings.live
        key = (settings.model_id, settings.width, settings.height, settings.num_inference_steps, live.rate)
        if key != self._controller_key:
            full = Quality(settings.width, settings.height, settings.num_inference_steps)
            if self._controller is None or self._controller.full != full:
                self._draft = None  # what it shows isn't what is asked for, even if nothing else changes
            known = self._controller.per_cost if self._controller and key[0] == self._controller_key[0] else None
            self._controller = Controller(ladder(full, self._fewest_steps(settings)), 1.0 / live.rate, known)
            self._controller_key = key
        exact = self._draft is None or self._draft.precise
        wanted = live.refine and not (exact and self._draft_quality == self._controller.full)
        self._schedule.policy = Policy(period=1.0 / live.rate, refine=wanted)

    @staticmethod
    def _fewest_steps(settings: object) -> int:
        info = model_info(session().capabilities, settings.model_id)
        distilled = (
            info is not None and info.num_inference_steps <= FEW_STEPS and info.guidance_scale <= FEW_STEPS_GUIDANCE
        )
        return 1 if distilled else min(FEWEST_STEPS, settings.num_inference_steps)

    # --- beginning and giving up --------------------------------------------------------------------

    def _begin(self, start: Start) -> float:
        """Captures and submits; seconds it took."""
        begin = time.perf_counter()
        self._strokes.hand_over(self._watch.version)
        bpy.context.evaluated_depsgraph_get()  # what it evaluates now is no change to come back for
        self._watch.changed = False
        quality = self._controller.full if start.refine else self._controller.quality
        try:
            frame = self._look(start, quality)
        except ScumbleError as error:
            self._tell(sentence(error.info))
            self._schedule.impossible(time.perf_counter(), time.perf_counter() - begin)
            return time.perf_counter() - begin
        self._tell("")
        if frame is None:
            self._schedule.unchanged(time.perf_counter(), time.perf_counter() - begin)
            self._shown_is_current()
        else:
            self._submit(start, frame, quality, begin)
        spent = time.perf_counter() - begin
        self.timings.captures.append(spent)
        return spent

    def _look(self, start: Start, quality: Quality) -> Frame | None:
        """None for a draft that would be what the latest one is, were it of the same quality."""
        capabilities = session().capabilities
        precise = start.refine or not bpy.context.scene.scumble.live.refine
        frame = look(bpy.context, capabilities, quality, precise=precise)
        if start.refine or self._draft is None:
            return frame
        before = frame
        if quality != self._draft_quality:
            before = look(bpy.context, capabilities, self._draft_quality, precise=precise)
        return None if same(before, self._draft) else frame

    def _submit(self, start: Start, frame: Frame, quality: Quality, begin: float) -> None:
        expected = self._controller.expected(quality) or FIRST_GUESS
        previews = expected > WORTH_PREVIEWS and preferences().show_previews
        made = frame.request
        record = session().submit(made.job, made.tensors, made.target, previews=previews, once=frame.captured)
        now = time.perf_counter()
        self._schedule.submitted(now, record.id, start, expected, now - begin)
        self._sent[record.id] = _Sent(frame, self._watch.version, quality, start.refine, now)
        self.submitted += 1
        results.preview_watchers[record.id] = self._show_preview
        if not start.refine:
            self._draft, self._draft_quality, self._draft_version = frame, quality, self._watch.version

    def _shown_is_current(self) -> None:
        """What the newest draft shows, or its refine, is what is to be seen, whatever was thought to change."""
        for sent in self._sent.values():
            if sent.version >= self._draft_version:
                sent.version = self._watch.version
        self._display.confirm(self._draft_version)
        self._draft_version = self._watch.version

    def _give_up(self, job_id: str) -> None:
        session().cancel(job_id)

    def _forget(self, job_id: str) -> None:
        """Its end, if it is still to come, concerns nobody."""
        results.preview_watchers.pop(job_id, None)
        session().jobs.remove(job_id)

    # --- what comes back ----------------------------------------------------------------------------

    def _hear(self, now: float) -> None:
        for job_id in self._schedule.flying:
            record = session().jobs.get(job_id)
            if record is not None and not record.state.ended:
                self._follow(record, now)
                continue
            sent = self._sent.pop(job_id)
            if record is not None and record.state is JobState.DONE:
                self._finish(record, sent, now)
            else:
                self._lose(sent, record, now)
            self._schedule.ended(job_id, done=record is not None and record.state is JobState.DONE)
            self._forget(job_id)

    def _follow(self, record: JobRecord, now: float) -> None:
        if record.state is JobState.RUNNING:
            self._schedule.running(now, record.id)
        if record.stage == "loading":
            self._sent[record.id].loaded = True
        if record.fraction is not None:
            self._schedule.stepped(now, record.id, record.fraction)

    def _show_preview(self, record: JobRecord, pixels: object) -> None:
        if (sent := self._sent.get(record.id)) is not None:
            self._display.show(record.id, sent.frame, sent.version, pixels, self._look_wanted)

    def _finish(self, record: JobRecord, sent: _Sent, now: float) -> None:
        painting: Painting = record.prepared
        self._display.show(record.id, sent.frame, sent.version, painting.shown, self._look_wanted)
        self.latest, self.latest_spare = record, sent.frame.spare
        self.refined = sent.refine or (sent.quality == self._controller.full and sent.frame.precise)
        self.pictures += 1
        self._refused = ()
        self.timings.trips.append(now - sent.at)
        self.timings.frames.append(now)
        if not sent.loaded and not sent.refine:
            self._controller.measured(sent.quality, painting.at - max(sent.at, self._ended_at))
        self._ended_at = painting.at

    def _lose(self, sent: _Sent, record: JobRecord | None, now: float) -> None:
        """It ended without a picture. What would fail again isn't tried again with the same settings.

        How far it got says how long it would have taken: drafts that are always given up are too slow, too.
        """
        if self._draft is sent.frame:
            self._draft = None
        if record is not None and record.fraction and record.step and not sent.loaded and not sent.refine:
            self._controller.measured(sent.quality, (now - max(sent.at, self._ended_at)) / record.fraction)
        self._ended_at = now
        if record is not None and record.error is not None and not record.error.retryable:
            self._refused = settings_key(bpy.context.scene)
            self._tell(sentence(record.error))

    def _tell(self, trouble: str) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            session().changes += 1

    def status(self) -> str:
        """One line for the panel."""
        if self.paused or self.trouble:
            return self.paused or self.trouble
        quality = self.quality
        if quality is None or not self.pictures:
            return "Waiting for the first picture"
        if self.idle:
            return "At rest, in full quality" if self.refined else "At rest"
        rate = self.timings.rate(time.perf_counter())
        speed = f"{rate:.1f} per second, " if rate >= 0.05 else ""
        steps = "1 step" if quality.steps == 1 else f"{quality.steps} steps"
        return f"{speed}{quality.width} × {quality.height}, {steps}"

    def _tell_status(self, now: float) -> None:
        """Has sidebars redrawn for it, not for every picture."""
        status = self.status()
        if status != self._told and (self.idle or now - self._told_at > TELL_INTERVAL):
            self._told, self._told_at = status, now
            tag_sidebars()
