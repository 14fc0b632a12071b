"""Verifying: every broken, missing and unverifiable file by name."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from core import models
from core.errors import UserError
from core.models import Card
from core.operation import Silent
from core.paths import PROJECT
from core.weights import verify
from core.weights.delta import RecoverRequest, recover
from core.weights.sample_family import SampleFamilyRequest
from core.weights.sample_family import run as make_family
from core.weights.verify import VerifyRequest, check, run

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
INDEX = "model.safetensors.index.json"


@pytest.fixture
def model(workspace: Path, tmp_path: Path) -> Path:
    """A small sharded model with a card that knows every file."""
    folder = tmp_path / "model"
    folder.mkdir()
    numbers = np.random.default_rng(0)
    for name, tensor in zip(SHARDS, ("a", "b"), strict=True):
        save_file({tensor: numbers.random((64, 32), dtype=np.float32)}, folder / name)
    (folder / INDEX).write_text(json.dumps({"weight_map": dict(zip(("a", "b"), SHARDS, strict=True))}))
    (folder / "config.json").write_text("{}")
    know(folder)
    return folder


def know(folder: Path) -> None:
    files = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != models.CARD
    }
    models.write_card(folder, Card(title="m", files={name: sha for name, sha in files.items() if name[0] != "."}))


def damage(folder: Path) -> UserError:
    with pytest.raises(UserError) as caught:
        run(VerifyRequest(folder=folder), Silent())
    return caught.value


def test_a_sound_model_is_good_whole(model: Path) -> None:
    result = run(VerifyRequest(folder=model), Silent())
    assert set(result.good) == {*SHARDS, INDEX, "config.json"} and result.unverifiable == ()


def test_a_flipped_bit_anywhere_is_noticed_and_named(model: Path) -> None:
    dice = random.Random(1)
    for _ in range(100):
        path = model / dice.choice([*SHARDS, INDEX, "config.json"])
        sound, times = path.read_bytes(), path.stat()
        spoiled = bytearray(sound)
        spoiled[dice.randrange(len(spoiled))] ^= 1 << dice.randrange(8)
        path.write_bytes(spoiled)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # a disk does not tell
        error = damage(model)
        assert path.name in error.values["broken"] and error.values["missing"] == ""
        path.write_bytes(sound)


def test_broken_and_missing_are_told_apart(model: Path) -> None:
    (model / SHARDS[0]).write_bytes(b"x")
    (model / "config.json").unlink()
    error = damage(model)
    assert (error.values["broken"], error.values["missing"]) == (SHARDS[0], "config.json")


def test_a_file_nobody_knows_is_unverifiable_not_good(model: Path) -> None:
    (model / "extra.bin").write_bytes(b"x")
    assert run(VerifyRequest(folder=model), Silent()).unverifiable == ("extra.bin",)


def test_without_hashes_the_structure_is_still_checked(model: Path) -> None:
    (model / models.CARD).unlink()
    assert set(run(VerifyRequest(folder=model), Silent()).unverifiable) == {*SHARDS, INDEX, "config.json"}
    (model / SHARDS[0]).write_bytes((model / SHARDS[0]).read_bytes()[:-5])
    assert damage(model).values["broken"] == SHARDS[0]


def test_a_shard_that_only_the_index_knows_is_missing(model: Path) -> None:
    (model / models.CARD).unlink()
    (model / SHARDS[1]).unlink()
    assert damage(model).values["missing"] == SHARDS[1]


def test_a_part_of_a_split_gguf_is_missed(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "m-00001-of-00002.gguf").write_bytes(b"GGUF")
    assert damage(tmp_path).values["missing"] == "m-00002-of-00002.gguf"


def test_an_index_that_places_tensors_wrongly_is_broken(model: Path) -> None:
    (model / INDEX).write_text(json.dumps({"weight_map": {"a": SHARDS[0], "b": SHARDS[1], "c": SHARDS[1]}}))
    know(model)
    assert damage(model).values["broken"] == INDEX


@pytest.mark.parametrize("names", [{"a": "../../etc/passwd"}, {"a": "/etc/passwd"}, {"a": 1}, [1]])
def test_an_index_that_leads_elsewhere_is_broken(model: Path, names: object) -> None:
    (model / INDEX).write_text(json.dumps({"weight_map": names}))
    know(model)
    assert damage(model).values["broken"] == INDEX


def test_the_manifest_of_weights_made_here_is_believed(model: Path) -> None:
    card = models.read_card(model)
    (model / verify.MANIFEST).write_text(json.dumps({"files": card.files}))
    (model / models.CARD).unlink()
    assert set(run(VerifyRequest(folder=model), Silent()).good) == set(card.files)


def test_what_lies_in_a_folder_of_its_own_is_checked_by_its_own_records(model: Path, tmp_path: Path) -> None:
    """As a recovered model lies: a GGUF beside the folder hf, which has its own manifest."""
    outer = tmp_path / "recovered"
    outer.mkdir()
    (outer / "m.gguf").write_bytes(b"GGUF")
    know(outer)
    files = models.read_card(model).files
    (model / verify.MANIFEST).write_text(json.dumps({"files": {name: files[name] for name in (*SHARDS, INDEX)}}))
    (model / models.CARD).unlink()
    inner = model.rename(outer / "hf")
    result = run(VerifyRequest(folder=outer), Silent())
    assert set(result.good) == {"m.gguf", *(f"hf/{name}" for name in (*SHARDS, INDEX))}
    assert result.unverifiable == ("hf/config.json",)
    spoiled = bytearray((inner / SHARDS[1]).read_bytes())
    spoiled[-1] ^= 1
    (inner / SHARDS[1]).write_bytes(spoiled)
    assert damage(outer).values["broken"] == f"hf/{SHARDS[1]}"
    (inner / SHARDS[1]).unlink()
    assert damage(outer).values["missing"] == f"hf/{SHARDS[1]}"


def test_of_a_model_made_here_every_file_is_known(workspace: Path, tmp_path: Path) -> None:
    family = make_family(SampleFamilyRequest(out=tmp_path / "family"), Silent())
    request = RecoverRequest(base=family.base, delta=family.delta, out=tmp_path / "out", shard_gb=0.0005)
    recover(request, Silent())
    result = run(VerifyRequest(folder=tmp_path / "out"), Silent())
    assert result.unverifiable == () and {INDEX, "config.json", "tokenizer.json"} < set(result.good)
    dice = random.Random(2)
    for name in result.good:
        path = tmp_path / "out" / name
        sound = path.read_bytes()
        spoiled = bytearray(sound)
        spoiled[dice.randrange(len(spoiled))] ^= 1 << dice.randrange(8)
        path.write_bytes(spoiled)
        assert name in damage(tmp_path / "out").values["broken"]
        path.write_bytes(sound)


def test_metas_checklist_is_believed(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "consolidated.00.pth").write_bytes(b"weights")
    (tmp_path / "params.json").write_bytes(b"{}")
    lines = [
        "63f4f1e9b725370f459720575cd5f953  consolidated.00.pth",
        "99914b932bd37a50b983c5e7c90ae93b  params.json",
    ]
    (tmp_path / "checklist.chk").write_text("\n".join(lines) + "\n")
    assert set(run(VerifyRequest(folder=tmp_path), Silent()).good) == {"consolidated.00.pth", "params.json"}
    (tmp_path / "consolidated.00.pth").write_bytes(b"wEights")
    assert damage(tmp_path).values["broken"] == "consolidated.00.pth"


def test_names_and_links_that_lead_out_are_not_followed(model: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    card = models.read_card(model)
    models.write_card(model, card.model_copy(update={"files": card.files | {"../secret": "0" * 64, "link": "0" * 64}}))
    (model / "link").symlink_to(secret)
    verdict = check(model, Silent())
    assert verdict.missing == ["link"] and not verdict.broken


def test_nothing_to_check_is_told(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder, words in ((tmp_path / "empty", "holds no model"), (tmp_path / "none", "no folder")):
        with pytest.raises(UserError, match=words):
            run(VerifyRequest(folder=folder), Silent())


def test_the_command_ends_with_1_and_names_the_file(model: Path) -> None:
    argv = [sys.executable, "-m", "core", "models", "verify", str(model)]
    assert subprocess.run(argv, cwd=PROJECT, capture_output=True, check=False).returncode == 0
    (model / SHARDS[1]).write_bytes(b"x")
    ended = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1 and SHARDS[1] in ended.stderr
