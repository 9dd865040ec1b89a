"""``scumble download`` from the command line, against a hub on this machine."""

from __future__ import annotations

import pytest
from file_server import drop
from scumble_server.cli import main
from scumble_server.models.catalogue import CATALOGUE, SETS

COMMIT = "a" * 40
CONTROLNET = "controlnet_cond_embedding.conv_in.weight"


@pytest.fixture
def scumble(tmp_path, capsys, monkeypatch, server):
    """Runs ``scumble download ARGUMENTS`` with a library of its own; returns exit status, output and errors."""
    monkeypatch.setenv("SCUMBLE_MODELS", str(tmp_path / "library"))
    monkeypatch.setenv("SCUMBLE_MIRROR", server.url)

    def scumble(*arguments):
        code = main(["download", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return scumble


@pytest.fixture
def hub(server, weights):
    for repo in ("lllyasviel/control_v11f1p_sd15_depth", "owner/net"):
        revision = next((entry.revision for entry in CATALOGUE if entry.repo == repo), COMMIT)
        files = {
            "config.json": b'{"_class_name": "ControlNetModel"}',
            "diffusion_pytorch_model.safetensors": weights(CONTROLNET),
        }
        server.put_repository(repo, revision, files, license="openrail")
    return server


def test_the_catalogue_shows_all_models_and_sets_without_the_network(scumble, server):
    code, out, _ = scumble("catalogue")
    assert code == 0
    for item in (*CATALOGUE, *SETS):
        assert f"\n{item.id} " in f"\n{out}"
    assert "CreativeML OpenRAIL-M" in out
    assert server.seen == []


def test_from_catalogue_to_deletion(scumble, hub):
    code, out, _ = scumble("get", "sd15-depth")
    assert code == 0
    assert "OpenRAIL" in out
    assert "539f99181d33" in out
    _, out, _ = scumble("installed")
    assert out.split()[:3] == ["sd15-depth", "controlnet", "sd15"]
    assert "[in the library]" in scumble("catalogue")[1]
    assert scumble("verify") == (0, "sd15-depth: as it was fetched\n", "")
    code, _, err = scumble("delete", "sd15-depth")
    assert code == 1
    assert "--yes" in err
    assert scumble("delete", "sd15-depth", "--yes")[0] == 0
    assert "Nothing yet" in scumble("installed")[1]


def test_a_repository_and_an_address(scumble, hub, weights):
    assert scumble("get", "owner/net", "--id", "first")[0] == 0
    url = hub.put("/x/Second.safetensors", weights())
    assert scumble("get", url)[0] == 0
    assert [line.split()[0] for line in scumble("installed")[1].splitlines()] == ["first", "second"]


def test_a_dry_run_only_tells(scumble, hub, tmp_path):
    code, out, _ = scumble("get", "owner/net", "--dry-run")
    assert code == 0
    assert "2 files" in out
    assert not (tmp_path / "library").exists()


def test_offline_is_an_error_with_a_remedy(scumble, hub):
    code, _, err = scumble("get", "sd15-depth", "--offline")
    assert code == 1
    assert "offline" in err
    assert "remedy:" in err
    assert hub.seen == []


def test_a_download_that_was_broken_off_is_shown_and_can_be_dropped(scumble, hub, weights, tmp_path):
    body = weights()
    url = hub.put("/x/big.safetensors", body, drop(5000))
    code, _, err = scumble("get", url, "--attempts", 1)
    assert code == 1
    assert "what has arrived is kept" in err
    assert "big                  unfinished: 0.0 MB" in scumble("installed")[1]
    assert scumble("delete", "big")[0] == 0
    assert "Nothing yet" in scumble("installed")[1]
    assert list((tmp_path / "library").rglob("big.safetensors*")) == []


@pytest.mark.usefixtures("links")
def test_import_and_damage(scumble, tmp_path, weights):
    path = tmp_path / "Mine.safetensors"
    path.write_bytes(weights())
    assert scumble("import", path, "--licence", "CC0", "--link")[0] == 0
    assert "CC0" in scumble("installed")[1]
    path.write_bytes(weights(seed=3))
    code, out, err = scumble("verify", "mine")
    assert code == 1
    assert "checksum differs" in out
    assert "damaged: mine" in err


@pytest.mark.parametrize("target", ["nonsense", "../../etc", "owner/../x", "ftp://x/y.safetensors", "https://x/y.ckpt"])
def test_targets_that_cannot_be_are_refused(scumble, target):
    code, _, err = scumble("get", target)
    assert code == 1
    assert err.startswith("scumble: ")
