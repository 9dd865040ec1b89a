"""Jobs through a real worker process: what is told, in which order, and what survives which accident."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import numpy as np
import pytest
from brush import BRUSH, paint  # the spawned process imports it by the same name
from scumble_server.service import (
    JobCancelledUpdate,
    JobFailedUpdate,
    JobProgressUpdate,
    JobResultUpdate,
    JobStartedUpdate,
)
from scumble_server.workers.status import WorkerState
from scumble_shared.errors import ErrorCode, RemedyAction, ScumbleError
from scumble_shared.job import GenerateJob
from scumble_shared.limits import Limits
from scumble_shared.tensor import digest_of


def job(prompt="", **changes):
    return GenerateJob(prompt, **{"model": "brush", "width": 64, "height": 48, "num_inference_steps": 4, **changes})


async def done(service, listener, what, job_id="j"):
    heard = listener()
    service.submit(job_id, what, "artist", heard)
    await heard.end()
    return heard


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario, 60))


class TestAJob:
    def test_comes_back_with_the_pixels_the_executor_made(self, brush_service, listener):
        async def scenario():
            async with brush_service() as service:
                heard = await done(service, listener, job("waves", seed=7))
            result = heard.updates[-1]
            assert isinstance(result, JobResultUpdate)
            np.testing.assert_array_equal(result.tensors["image/0"], paint(job("waves", seed=7)))
            assert result.digests["image/0"] == digest_of(result.tensors["image/0"])
            facts = json.loads(result.provenance)
            assert facts["executor"] == "brush"
            assert facts["pid"] != os.getpid()
            assert 0 < facts["engine_seconds"] < 10

        run(scenario())

    def test_of_one_off_tensors_leaves_nothing_behind(self, brush_service, listener):
        async def scenario():
            picture, once = np.full((48, 64, 3), 9, np.uint8), f"once:{'0' * 32}:1"
            async with brush_service() as service:
                service.put(once, picture)
                heard = await done(service, listener, job(init_image=once))
                assert service.missing([once]) == (once,)
                assert service.status().store_bytes == 0
            assert heard.updates[-1].digests["image/0"] == ""
            assert heard.updates[-1].tensors["image/0"].shape == (48, 64, 3)

        run(scenario())

    def test_is_told_step_by_step_after_its_start(self, brush_service, listener):
        async def scenario():
            async with brush_service() as service:
                heard = await done(service, listener, job())
            start = next(i for i, update in enumerate(heard.updates) if isinstance(update, JobStartedUpdate))
            steps = [update for update in heard.updates[start:] if isinstance(update, JobProgressUpdate)]
            assert [(s.stage, s.step, s.fraction) for s in steps] == [("denoising", i, i / 4) for i in (1, 2, 3, 4)]

        run(scenario())

    def test_may_be_sent_before_the_worker_is_up_and_sees_the_model_load(self, brush_service, listener):
        async def scenario():
            async with brush_service() as service:
                assert service.status().state is WorkerState.STARTING
                heard = await done(service, listener, job())
            assert isinstance(heard.updates[0], JobProgressUpdate)
            assert heard.updates[0].stage == "loading"
            assert isinstance(heard.updates[-1], JobResultUpdate)

        run(scenario())

    def test_gets_its_tensors_by_address_and_its_result_serves_the_next_job(self, brush_service, listener):
        async def scenario():
            async with brush_service() as service:
                first = (await done(service, listener, job(seed=3))).updates[-1]
                address = first.digests["image/0"]
                assert service.missing([address]) == ()
                second = (await done(service, listener, job(init_image=address))).updates[-1]
                np.testing.assert_array_equal(second.tensors["image/0"], 255 - first.tensors["image/0"])

        run(scenario())

    def test_start_is_not_told_before_submit_returned(self, brush_service, listener):
        async def scenario():
            async with brush_service() as service:
                await done(service, listener, job(), "first")
                heard = listener()
                service.submit("second", job(), "artist", heard)
                assert heard.updates == []
                await heard.end()

        run(scenario())

    def test_two_of_the_same_id_are_refused(self, brush_service, listener):
        async def scenario():
            async with brush_service() as service:
                service.submit("j", job(), "artist", listener())
                with pytest.raises(ValueError, match="already"):
                    service.submit("j", job(), "artist", listener())

        run(scenario())

    def test_with_a_tensor_that_left_the_store_is_refused(self, brush_service, listener):
        async def scenario():
            async with brush_service() as service:
                with pytest.raises(KeyError):
                    service.submit("j", job(init_image="0" * 64), "artist", listener())
                assert service.status().queued == 0

        run(scenario())


class TestPreviews:
    def test_are_small_pictures_on_the_way(self, brush_service, listener):
        async def scenario():
            async with brush_service() as service:
                heard = await done(service, listener, job("slow"))
            assert heard.previews[0].image.shape == (6, 8, 3)
            assert [p.step for p in heard.previews] == sorted({p.step for p in heard.previews})

        run(scenario())

    def test_are_not_made_for_nobody(self, brush_service, listener):
        async def scenario():
            async with brush_service() as service:
                heard = listener()
                service.submit("j", job("slow"), "artist", heard, previews=False)
                await heard.end()
            assert heard.previews == []
            assert json.loads(heard.updates[-1].provenance)["previews"] == 0

        run(scenario())


class TestQueue:
    def test_owners_take_turns(self, brush_service, listener):
        async def scenario():
            async with brush_service() as service:
                heard = {}
                for name in ("a1", "a2", "a3", "b1"):
                    heard[name] = listener()
                    service.submit(name, job(), name[0], heard[name])
                for name in heard:
                    await heard[name].end()
                order = sorted(heard, key=lambda name: json.loads(heard[name].updates[-1].provenance)["order"])
            assert order == ["a1", "b1", "a2", "a3"]

        run(scenario())

    def test_submit_says_how_many_go_before(self, brush_service, listener):
        async def scenario():
            async with brush_service() as service:
                first = listener()
                service.submit("a1", job("hang"), "a", first)
                await first.step(2)
                assert service.submit("a2", job(), "a", listener()) == 1
                assert service.submit("a3", job(), "a", listener()) == 2
                assert service.submit("b1", job(), "b", listener()) == 2  # after a2, before a3

        run(scenario())

    def test_an_owner_over_the_limit_hears_busy_and_keeps_the_rest(self, brush_service, listener):
        async def scenario():
            async with brush_service(limits=Limits(queued_jobs=2)) as service:
                heard = listener()
                service.submit("1", job(), "artist", heard)
                service.submit("2", job(), "artist", listener())
                with pytest.raises(ScumbleError) as refused:
                    service.submit("3", job(), "artist", listener())
                assert refused.value.code is ErrorCode.BUSY
                await heard.end()

        run(scenario())

    def test_tensors_of_waiting_jobs_stay(self, brush_service, listener):
        image = np.zeros((48, 64, 3), np.uint8)
        other = np.ones((48, 64, 3), np.uint8)

        async def scenario():
            async with brush_service(limits=Limits(store_bytes=image.nbytes)) as service:
                service.put(digest_of(image), image)
                heard = listener()
                service.submit("j", job(init_image=digest_of(image)), "artist", heard)
                with pytest.raises(ScumbleError) as refused:
                    service.put(digest_of(other), other)
                assert refused.value.code is ErrorCode.BUSY
                assert isinstance(await heard.end(), JobResultUpdate)
                service.put(digest_of(other), other)
                assert service.missing([digest_of(image)]) == (digest_of(image),)

        run(scenario())


class TestCancel:
    def test_a_waiting_job_ends_at_once_and_never_starts(self, brush_service, listener):
        async def scenario():
            async with brush_service() as service:
                heard = listener()
                service.submit("j", job(), "artist", heard)
                assert service.cancel("j")
                assert heard.updates == [JobCancelledUpdate()]
                assert not service.cancel("j")

        run(scenario())

    def test_a_running_job_ends_within_one_step(self, brush_service, listener):
        async def scenario():
            async with brush_service() as service:
                heard = listener()
                service.submit("j", job("slow", num_inference_steps=500), "artist", heard)
                seen = await heard.step(3)
                assert service.cancel("j")
                assert await heard.end() == JobCancelledUpdate()
                last = [update for update in heard.updates if isinstance(update, JobProgressUpdate)][-1]
                assert last.step <= seen.step + 2  # the one under way, and one more if the order crossed it
                assert isinstance((await done(service, listener, job(), "next")).updates[-1], JobResultUpdate)
                assert service.status().restarts == 0

        run(scenario())

    def test_of_a_job_that_does_not_listen_costs_the_worker_not_the_server(self, brush_service, listener):
        async def scenario():
            async with brush_service() as service:
                heard = listener()
                service.submit("j", job("hang"), "artist", heard)
                await heard.step(2)
                service.cancel("j")
                assert await heard.end() == JobCancelledUpdate()
                assert isinstance((await done(service, listener, job(), "next")).updates[-1], JobResultUpdate)

        run(scenario())

    def test_of_something_unknown_is_false(self, brush_service):
        async def scenario():
            async with brush_service() as service:
                assert not service.cancel("unknown")

        run(scenario())


class TestAccidents:
    def test_kill_mid_step_costs_that_job_alone(self, brush_service, listener):
        async def scenario():
            async with brush_service() as service:
                victim, waiting = listener(), listener()
                service.submit("victim", job("hang"), "artist", victim)
                service.submit("waiting", job(seed=5), "artist", waiting)
                await victim.step(2)
                os.kill(service.status().worker_pid, signal.SIGKILL)
                lost = await victim.end()
                assert isinstance(lost, JobFailedUpdate)
                assert lost.error.code is ErrorCode.WORKER_LOST
                assert lost.error.retryable
                assert lost.error.remedy.action is RemedyAction.RETRY
                assert "SIGKILL" in lost.error.message
                result = await waiting.end()
                np.testing.assert_array_equal(result.tensors["image/0"], paint(job(seed=5)))
                assert service.status().restarts == 1

        run(scenario())

    def test_a_job_that_crashes_its_worker_each_time_stops_nobody_else(self, brush_service, listener):
        async def scenario():
            async with brush_service() as service:
                for number in range(4):
                    end = (await done(service, listener, job("crash"), f"bad{number}")).updates[-1]
                    assert end.error.code is ErrorCode.WORKER_LOST
                assert isinstance((await done(service, listener, job(), "good")).updates[-1], JobResultUpdate)

        run(scenario())

    def test_out_of_memory_names_a_size_to_try(self, brush_service, listener):
        async def scenario():
            async with brush_service() as service:
                error = (await done(service, listener, job("oom", width=1024, height=768))).updates[-1].error
                assert error.code is ErrorCode.OUT_OF_MEMORY
                assert error.remedy.action is RemedyAction.REDUCE_SIZE
                assert error.remedy.argument == "512x384"
                assert service.status().restarts == 0

        run(scenario())

    def test_a_bug_is_told_without_its_details(self, brush_service, listener, capfd):
        async def scenario():
            async with brush_service() as service:
                error = (await done(service, listener, job("broken"))).updates[-1].error
                assert error.code is ErrorCode.INTERNAL
                assert "secret detail" not in error.message
                return error.message

        message = asyncio.run(scenario())
        reference = message.split("reference ")[1].split()[0]
        log = capfd.readouterr().err
        assert f"reference {reference}" in log
        assert "secret detail" in log

    def test_a_lost_device_gets_a_new_process(self, brush_service, listener):
        async def scenario():
            async with brush_service() as service:
                error = (await done(service, listener, job("lost-device"))).updates[-1].error
                assert error.code is ErrorCode.WORKER_LOST
                assert error.retryable
                assert isinstance((await done(service, listener, job(), "next")).updates[-1], JobResultUpdate)
                assert service.status().restarts == 1

        run(scenario())

    def test_a_typed_error_comes_through_as_it_is(self, brush_service, listener):
        async def scenario():
            async with brush_service() as service:
                error = (await done(service, listener, job("no-model"))).updates[-1].error
                assert (error.code, error.field) == (ErrorCode.MODEL_MISSING, "job.model")

        run(scenario())


class TestStart:
    def test_capabilities_are_told_when_known(self, brush_service, listener):
        async def scenario():
            async with brush_service() as service:
                changed = asyncio.Event()
                service.on_capabilities_changed(changed.set)
                assert service.capabilities().models == ()
                await changed.wait()
                assert service.capabilities().models == (BRUSH,)

        run(scenario())

    def test_a_worker_that_fails_twice_is_started_a_third_time(self, brush_service, listener, tmp_path):
        async def scenario():
            log = tmp_path / "starts"
            async with brush_service(arguments={"start_log": str(log), "fail_starts": 2}) as service:
                assert isinstance((await done(service, listener, job())).updates[-1], JobResultUpdate)
                assert len(log.read_text().splitlines()) == 3

        run(scenario())

    def test_one_that_never_starts_keeps_nobody_waiting_and_the_next_job_tries_again(
        self, brush_service, listener, tmp_path
    ):
        async def scenario():
            log = tmp_path / "starts"
            async with brush_service(arguments={"start_log": str(log), "fail_starts": 4}) as service:
                first = (await done(service, listener, job(), "first")).updates[-1]
                assert first.error.code is ErrorCode.WORKER_LOST
                assert service.status().state is WorkerState.FAILED
                assert isinstance((await done(service, listener, job(), "second")).updates[-1], JobResultUpdate)

        run(scenario())

    def test_one_that_never_gets_ready_is_ended_and_the_job_told_why(self, brush_service, listener):
        async def scenario():
            limits = Limits(worker_start_seconds=0.5)
            async with brush_service(target="brush:NeverReady", limits=limits) as service:
                error = (await done(service, listener, job())).updates[-1].error
                assert (error.code, error.retryable) == (ErrorCode.WORKER_LOST, True)
                assert "wasn't ready within 0.5 s" in error.message
                assert service.status().state is WorkerState.FAILED
                assert service.status().worker_pid is None

        run(scenario())

    def test_one_that_takes_long_but_says_so_is_waited_for(self, brush_service, listener):
        """It is silence that counts; this one speaks every tenth of a second."""

        async def scenario():
            limits = Limits(worker_start_seconds=4.0)
            async with brush_service(arguments={"warm_steps": 45}, limits=limits) as service:
                assert isinstance((await done(service, listener, job())).updates[-1], JobResultUpdate)
                assert service.status().restarts == 0

        run(scenario())

    def test_what_keeps_the_engine_from_starting_is_told(self, brush_service, listener):
        async def scenario():
            async with brush_service(arguments={"refuse": "there is no model at all"}) as service:
                error = (await done(service, listener, job())).updates[-1].error
                assert (error.code, error.message) == (ErrorCode.MODEL_MISSING, "there is no model at all")

        run(scenario())

    def test_a_default_model_that_kills_the_worker_is_not_loaded_ahead_again(self, brush_service, listener):
        async def scenario():
            async with brush_service(arguments={"die_warming": True}) as service:
                assert isinstance((await done(service, listener, job())).updates[-1], JobResultUpdate)

        run(scenario())


class TestEnd:
    def test_open_jobs_fail_and_the_process_is_gone(self, brush_service, listener):
        async def scenario():
            async with brush_service() as service:
                running, waiting = listener(), listener()
                service.submit("running", job("hang"), "artist", running)
                service.submit("waiting", job(), "artist", waiting)
                await running.step(2)
                pid = service.status().worker_pid
            for heard in (running, waiting):
                assert heard.updates[-1].error.code is ErrorCode.WORKER_LOST
                assert heard.updates[-1].error.remedy.action is RemedyAction.START_SERVER
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)

        run(scenario())

    def test_is_quick_even_if_nothing_was_started_yet(self, brush_service):
        async def scenario():
            loop = asyncio.get_running_loop()
            async with brush_service():
                begun = loop.time()
            assert loop.time() - begun < 2.5  # the grace is 2 s

        run(scenario())
