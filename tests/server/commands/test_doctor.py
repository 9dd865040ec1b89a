"""The doctor's verdicts: what is well, what is wrong, and a remedy for all that is wrong."""

from __future__ import annotations

import json
import os
import socket
import struct

import pytest
from scumble_server import cli
from scumble_server.commands.doctor import examine, text_of
from scumble_server.health.engines import engine_findings
from scumble_server.health.finding import Finding, Level
from scumble_server.health.hardware import device_findings, disk_finding
from scumble_server.health.memory import memory_plan_findings, plan_finding
from scumble_server.health.packages import installed, package_findings, pair_finding
from scumble_server.health.surroundings import model_findings, server_findings
from scumble_server.memory.machine import GIB, Machine
from scumble_server.models.entries import ModelEntry
from scumble_shared.runtime import ServerRecord, write_record


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SCUMBLE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SCUMBLE_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "home"


def packages(**versions):
    """A lookup that knows these alone; torchvision as it says which torch it was built with."""
    return lambda name: (versions[name], ["numpy", "torch==2.13.0", "pillow>=5"]) if name in versions else None


class TestThisMachine:
    def test_everything_wrong_has_a_remedy(self):
        for finding in examine("cpu"):
            assert finding.text
            assert finding.remedy or finding.level in (Level.OK, Level.NOTE), finding

    def test_the_command_agrees_with_its_exit_status(self, capsys):
        status = cli.main(["doctor", "--json", "--device", "cpu"])
        report = json.loads(capsys.readouterr().out)
        assert report["ok"] is (status == 0)
        assert {"python", "packages", "device", "memory", "disk", "models", "server"} <= {
            finding["topic"] for finding in report["findings"]
        }

    def test_a_device_that_is_not_there_keeps_it_from_generating(self, capsys):
        assert cli.main(["doctor", "--device", "cuda:99"]) == 1
        assert "\nX  device" in capsys.readouterr().out

    def test_the_cpu_computes(self):
        assert device_findings("cpu")[0].level is Level.OK


class TestPackages:
    def test_versions_are_those_installed(self):
        assert f"torch {installed('torch')[0]}" in package_findings()[0].text

    def test_a_missing_one_is_a_problem(self):
        levels = {finding.level for finding in package_findings(packages(torch="2.13.0"))}
        assert Level.PROBLEM in levels

    @pytest.mark.parametrize(
        ("torch", "torchvision", "level"),
        [
            ("2.13.0", "0.28.0", Level.OK),
            ("2.13.0+cpu", "0.28.0+cpu", Level.OK),
            ("2.12.1", "0.28.0", Level.PROBLEM),
            ("2.13.0+cu130", "0.28.0+cpu", Level.PROBLEM),
            ("2.13.0", None, Level.OK),
        ],
    )
    def test_torch_and_torchvision_must_be_a_pair(self, torch, torchvision, level):
        known = {"torch": torch, **({"torchvision": torchvision} if torchvision else {})}
        finding = pair_finding(packages(**known))
        assert finding.level is level
        assert bool(finding.remedy) is (level is Level.PROBLEM)


class TestEngines:
    def test_one_that_is_to_paint_must_be_there(self, capsys):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))  # and nobody listens
            url = f"http://127.0.0.1:{free.getsockname()[1]}"
            (finding,) = engine_findings("comfyui", url)
        assert finding.level is Level.PROBLEM
        assert url in finding.text
        assert "Start ComfyUI" in finding.remedy

    def test_what_is_no_address_is_said(self):
        (finding,) = engine_findings("a1111", "my computer")
        assert (finding.level, bool(finding.remedy)) == (Level.PROBLEM, True)

    def test_those_nobody_asked_for_are_no_problem(self):
        assert {finding.level for finding in engine_findings()} <= {Level.OK, Level.NOTE}


class TestModels:
    def test_the_built_in_one_is_always_there(self, tmp_path):
        findings = model_findings((tmp_path,))
        assert findings[0].text.startswith("starter:")
        assert any(str(tmp_path) in finding.text for finding in findings)

    def test_a_truncated_file_is_named_with_the_reason(self, tmp_path):
        (tmp_path / "cut.safetensors").write_bytes(struct.pack("<Q", 10_000) + b"{}")
        warning = next(finding for finding in model_findings((tmp_path,)) if finding.level is Level.WARNING)
        assert "cut.safetensors" in warning.text

    def test_a_pickle_is_named_and_not_opened(self, tmp_path):
        (tmp_path / "old.ckpt").write_bytes(b"cposix\nsystem\n")
        warning = next(finding for finding in model_findings((tmp_path,)) if finding.level is Level.WARNING)
        assert "old.ckpt" in warning.text


class TestMemory:
    @pytest.fixture
    def entry(self, tmp_path):
        """Half a milliard of weights of no known type, of which nothing but the header is there."""
        tensor = {"dtype": "X", "shape": [2**29], "data_offsets": [0, 0]}
        header = json.dumps({"model.diffusion_model.w": tensor}).encode()
        path = tmp_path / "model.safetensors"
        path.write_bytes(struct.pack("<Q", len(header)) + header)
        return ModelEntry("model", "model", "sd15", path)

    def test_a_model_that_fits_is_told_with_what_it_takes(self, entry):
        finding = plan_finding(entry, Machine("cuda", 24 * GIB, 24 * GIB, 32 * GIB, 32 * GIB))
        assert finding.level is Level.OK
        assert "GiB at 512 x 512" in finding.text
        assert "(as it is)" in finding.text

    def test_one_that_does_not_is_told_with_what_is_done(self, entry):
        finding = plan_finding(entry, Machine("cuda", 2 * GIB, 2 * GIB, 32 * GIB, 32 * GIB))
        assert "decoding in tiles" in finding.text

    def test_one_that_never_will_has_a_remedy(self, entry):
        finding = plan_finding(entry, Machine("cpu", GIB, GIB, GIB, GIB))
        assert (finding.level, bool(finding.remedy)) == (Level.WARNING, True)

    def test_the_tier_of_this_machine(self):
        first, *models = memory_plan_findings("cpu")
        assert first.text.startswith("CPU: ")
        assert any(finding.text.startswith("starter: ") for finding in models)

    def test_a_device_that_is_not_there_is_told_elsewhere(self):
        assert memory_plan_findings("tpu") == []


class TestSurroundings:
    def test_a_running_server_is_listed_without_its_token(self, home):
        write_record(ServerRecord(4321, os.getpid(), "i", "very-secret", "ws://127.0.0.1:4321", "1.0"))
        findings = server_findings()
        assert any("ws://127.0.0.1:4321" in finding.text for finding in findings)
        assert "very-secret" not in repr(findings)

    @pytest.mark.skipif(os.name != "posix", reason="file modes")
    def test_a_folder_of_tokens_that_others_can_read_is_a_warning(self, home):
        write_record(ServerRecord(4321, os.getpid(), "i", "t", "ws://127.0.0.1:4321", "1.0"))
        (home / "run").chmod(0o755)
        assert any("chmod 700" in finding.remedy for finding in server_findings())

    def test_little_room_on_the_disk_is_a_warning(self, tmp_path):
        assert disk_finding(tmp_path / "not" / "there" / "yet", wanted=0).level is Level.OK
        assert disk_finding(tmp_path, wanted=2**60).level is Level.WARNING


class TestTheReport:
    def test_says_how_many_problems_there_are_and_what_to_do(self):
        text = text_of(
            [
                Finding("models", Level.OK, "one"),
                Finding("device", Level.PROBLEM, "broken", "mend it"),
                Finding("disk", Level.WARNING, "full", "tidy up"),
            ]
        )
        assert "-> mend it" in text
        assert "-> tidy up" in text
        assert text.splitlines()[-1].startswith("1 problem to solve")

    def test_warnings_do_not_keep_from_generating(self):
        assert "Ready" in text_of([Finding("disk", Level.WARNING, "full", "tidy up")])

    def test_fits_a_terminal(self):
        assert all(len(line) <= 110 for line in text_of(examine("cpu")).splitlines())
