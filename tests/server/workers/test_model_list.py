"""Models that come and go while the server runs: who looks, and who hears of it."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace

from brush import BRUSH  # the spawned process imports it by the same name
from scumble_server.models.seeded import write_seeded_model
from scumble_server.service import JobFailedUpdate, JobResultUpdate
from scumble_server.workers.model_list import ModelList
from scumble_server.workers.service import engine_service
from scumble_shared.errors import ErrorCode
from scumble_shared.job import GenerateJob
from scumble_shared.messages import Capabilities

KNOWN = Capabilities(tasks=("generate",), samplers=("euler",), models=(BRUSH,))
MORE = replace(KNOWN, models=(BRUSH, replace(BRUSH, id="late")))


def job(**changes):
    return GenerateJob(
        **{"prompt": "", "model": "brush", "width": 64, "height": 48, "num_inference_steps": 2, **changes}
    )


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario, 60))


class TestAService:
    def test_tells_what_it_finds_with_the_workers_device_and_has_the_worker_look_too(self, brush_service, listener):
        folder = [KNOWN]

        async def scenario():
            async with brush_service(capabilities=KNOWN, find_models=lambda: folder[0]) as service:
                told = []
                service.submit("a", job(), "artist", first := listener())
                await first.end()
                service.on_capabilities_changed(lambda: told.append(service.capabilities()))
                await service.look_for_models()
                assert told == []
                folder[0] = MORE
                await service.look_for_models()
                assert told == [replace(MORE, device="test")]
                service.submit("b", job(), "artist", second := listener())
                await second.end()
            looks = [json.loads(heard.updates[-1].provenance)["looks"] for heard in (first, second)]
            assert looks == [0, 1]

        run(scenario())

    def test_looks_by_itself_when_a_job_found_its_model_gone(self, brush_service, listener):
        folder = [KNOWN]

        async def scenario():
            async with brush_service(capabilities=KNOWN, find_models=lambda: folder[0]) as service:
                service.submit("a", job(), "artist", first := listener())
                await first.end()
                changed = asyncio.Event()
                service.on_capabilities_changed(changed.set)
                folder[0] = replace(KNOWN, models=())
                service.submit("b", job(prompt="no-model"), "artist", heard := listener())
                assert isinstance(await heard.end(), JobFailedUpdate)
                await changed.wait()
                assert service.capabilities().models == ()

        run(scenario())

    def test_whose_models_are_on_a_drive_that_is_gone_keeps_what_it_knew(self, brush_service, listener):
        def fail():
            raise OSError("no such drive")

        async def scenario():
            async with brush_service(capabilities=KNOWN, find_models=fail) as service:
                await service.look_for_models()
                assert service.capabilities().models == (BRUSH,)

        run(scenario())

    def test_runs_a_model_that_was_put_there_after_its_start(self, listener, tmp_path, monkeypatch):
        """The engine itself, in its process."""
        monkeypatch.setenv("SCUMBLE_HOME", str(tmp_path / "home"))
        folder = tmp_path / "models"

        async def scenario():
            service = engine_service((folder,), "cpu")
            service.start()
            try:
                await self.ended(service, listener, "first", "starter")
                write_seeded_model(folder / "late")
                await service.look_for_models()
                assert "late" in [model.id for model in service.capabilities().models]
                assert isinstance(await self.ended(service, listener, "second", "late"), JobResultUpdate)
                gone = await self.ended(service, listener, "third", "never")
                assert gone.error.code == ErrorCode.MODEL_MISSING
            finally:
                await service.close()

        run(scenario())

    @staticmethod
    async def ended(service, listener, job_id, model):
        heard = listener()
        service.submit(job_id, job(model=model, sampler="euler", num_inference_steps=1), "artist", heard)
        return await heard.end()


class TestLooks:
    def test_are_shared_by_those_who_ask_while_another_goes_on(self):
        """Two at the most: one that had begun before they asked, and one that begins after."""
        gate, begun, looks = threading.Event(), threading.Event(), []

        def find():
            looks.append(len(looks))
            begun.set()
            gate.wait(10)
            return KNOWN

        async def scenario():
            models = ModelList(find, lambda found: None)
            first = asyncio.ensure_future(models.look())
            await asyncio.to_thread(begun.wait, 10)
            others = [asyncio.ensure_future(models.look()) for _ in range(5)]
            await asyncio.sleep(0)
            gate.set()
            await asyncio.gather(first, *others)
            assert looks == [0, 1]
            await models.look()
            assert looks == [0, 1, 2]

        run(scenario())
