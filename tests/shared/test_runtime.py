"""Records by which a client finds a server: private, atomic, and gone with the process they speak of."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from scumble_shared.runtime import (
    InstallRecord,
    ServerRecord,
    data_dir,
    process_runs,
    read_install_record,
    read_records,
    remove_record,
    run_dir,
    write_install_record,
    write_record,
)

RECORD = ServerRecord(4242, os.getpid(), "instance", "secret-token", "ws://127.0.0.1:4242", "0.1.0", started=100.0)
posix = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SCUMBLE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


class TestServerRecords:
    def test_what_is_written_is_read(self):
        write_record(RECORD)
        assert read_records() == [RECORD]

    def test_latest_first(self):
        later = replace(RECORD, port=4243, started=200.0)
        write_record(later)
        write_record(RECORD)
        assert read_records() == [later, RECORD]

    @posix
    def test_nobody_else_may_read_them(self):
        path = write_record(RECORD)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    @posix
    def test_a_folder_that_was_open_to_others_is_closed(self, home):
        (home / "run").mkdir(parents=True, mode=0o755)
        path = write_record(RECORD)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    @posix
    def test_a_link_in_its_place_is_replaced_not_followed(self, home, tmp_path):
        target = tmp_path / "target"
        target.write_text("mine")
        run_dir().mkdir(parents=True)
        (run_dir() / "server-4242.json").symlink_to(target)
        write_record(RECORD)
        assert target.read_text() == "mine"
        assert read_records() == [RECORD]

    def test_nothing_else_is_left_in_the_folder(self):
        path = write_record(RECORD)
        assert list(path.parent.iterdir()) == [path]

    def test_of_a_process_that_is_gone_are_dropped(self, dead_pid):
        path = write_record(replace(RECORD, pid=dead_pid))
        assert read_records() == []
        assert not path.exists()

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"port": "x"}', "\0\0"])
    def test_unreadable_ones_are_skipped(self, content):
        write_record(RECORD)
        (run_dir() / "server-1.json").write_text(content)
        assert read_records() == [RECORD]

    def test_fields_of_a_newer_server_are_ignored(self):
        path = write_record(RECORD)
        path.write_text(path.read_text().replace("{", '{"colour":"blue",', 1))
        assert read_records() == [RECORD]

    def test_are_removed_by_their_own_server_only(self):
        write_record(RECORD)
        remove_record(replace(RECORD, instance_id="another"))
        assert read_records() == [RECORD]
        remove_record(RECORD)
        assert read_records() == []
        remove_record(RECORD)

    def test_no_folder_no_servers(self):
        assert read_records() == []

    def test_the_token_is_not_shown(self):
        assert "secret-token" not in repr(RECORD)


class TestProcesses:
    def test_this_one_runs(self):
        assert process_runs(os.getpid())

    def test_one_that_ended_does_not(self, dead_pid):
        assert not process_runs(dead_pid)

    @pytest.mark.parametrize("pid", [0, -1, 2**40])
    def test_what_is_no_process_id(self, pid):
        assert not process_runs(pid)


class TestInstallRecord:
    def test_what_is_written_is_read(self):
        record = InstallRecord((sys.executable, "-m", "scumble_server.cli", "serve"), "0.1.0")
        write_install_record(record)
        assert read_install_record() == record

    def test_of_a_program_that_is_gone_is_none(self):
        write_install_record(InstallRecord(("/nowhere/python",), "0.1.0"))
        assert read_install_record() is None

    def test_none_is_none(self):
        assert read_install_record() is None


class TestFolders:
    @pytest.mark.parametrize(
        ("environment", "platform", "expected"),
        [
            ({"SCUMBLE_HOME": "/x"}, "win32", Path("/x")),
            ({"XDG_DATA_HOME": "/data"}, "linux", Path("/data/scumble")),
            ({"XDG_DATA_HOME": "relative"}, "linux", Path.home() / ".local/share/scumble"),
            ({}, "linux", Path.home() / ".local/share/scumble"),
            ({}, "darwin", Path.home() / "Library/Application Support/Scumble"),
            ({"LOCALAPPDATA": "/local"}, "win32", Path("/local/Scumble")),
        ],
    )
    def test_are_each_systems_own(self, environment, platform, expected):
        assert data_dir(environment, platform) == expected
