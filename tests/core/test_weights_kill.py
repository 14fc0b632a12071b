"""Killed, on a full disk, with spoiled files: nothing torn has a final name, and the end is the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.errors import UserError
from core.models import read_card
from core.operation import Silent
from core.weights import hashes, stream
from core.weights.delta import RecoverRequest, recover
from core.weights.sample_family import SampleFamilyRequest
from core.weights.sample_family import run as make_family
from core.weights.tensors import read_safetensors
from tests.core.test_convert import random_weights, save_meta
from tests.core.test_recover import save
from tests.core.weights_models import sentencepiece_tokenizer

torch = pytest.importorskip("torch")
HERE = Path(__file__).resolve().parent.parent.parent
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="kills, limits and mounts as on Linux")


@dataclass(frozen=True)
class Command:
    words: list[str]
    inputs: list[Path]

    def start(self, out: Path, **options) -> subprocess.Popen:
        command = [sys.executable, "-m", "core", "weights", *self.words, "--out", str(out), "--shard-gb", "0.001"]
        return subprocess.Popen(
            command, cwd=HERE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options
        )

    def finish(self, out: Path, **options) -> tuple[int, str]:
        process = self.start(out, **options)
        _, errors = process.communicate(timeout=120)
        return process.returncode, errors


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def wide(words: int) -> dict:
    """About 12 MB of weights, so that there are a dozen shards to be killed in."""
    torch.manual_seed(1)
    shapes = {"model.embed_tokens.weight": (words, 1024), "lm_head.weight": (words, 1024), "model.norm.weight": (1024,)}
    shapes |= {f"model.layers.{number}.mlp.up_proj.weight": (512, 1024) for number in range(9)}
    return {name: (torch.randn(shape) * 0.02 + (len(shape) == 1)).half() for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def commands(tmp_path_factory) -> dict[str, Command]:
    place = tmp_path_factory.mktemp("kill")
    base = wide(600)
    save(place / "base", base, shards=2)
    save(place / "tuned", {name: tensor + tensor.roll(1) * 0.01 for name, tensor in base.items()})
    save(place / "delta", {name: tensor.roll(1) * 0.01 for name, tensor in base.items()})
    lora = {}
    for number in range(9):
        module = f"base_model.model.model.layers.{number}.mlp.up_proj"
        lora |= {f"{module}.lora_A.weight": torch.randn(4, 1024), f"{module}.lora_B.weight": torch.randn(512, 4)}
    save(place / "lora", lora)
    (place / "lora" / "model.safetensors").rename(place / "lora" / "adapter_model.safetensors")
    (place / "lora" / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 4}))
    words = sentencepiece_tokenizer(place / "meta")
    save_meta(
        place / "meta", {name: t.repeat(*[4] * t.ndim) for name, t in random_weights(words // 4, 8).items()}, 2, dim=256
    )
    both = [place / "base", place / "delta"]
    return {
        "recover": Command(["recover", "--base", str(both[0]), "--delta", str(both[1]), "--dtype", "fp32"], both),
        "make-delta": Command(
            ["make-delta", "--base", str(both[0]), "--tuned", str(place / "tuned")], [both[0], place / "tuned"]
        ),
        "merge": Command(
            ["merge", "--base", str(both[0]), "--adapter", str(place / "lora")], [both[0], place / "lora"]
        ),
        "convert": Command(["convert", "--source", str(place / "meta"), "--dtype", "fp32"], [place / "meta"]),
    }


def assert_whole_so_far(out: Path, wanted: dict[str, str]) -> None:
    """What has a final name is finished; an index is there only when everything is."""
    found = {name: digest for name, digest in contents(out).items() if not name.startswith(stream.WORK)}
    for name, digest in found.items():
        assert wanted[name] == digest, name
    if stream.INDEX in found:
        assert found == wanted


def kill_at(command: Command, out: Path, seconds: float) -> None:
    process = command.start(out, start_new_session=True)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def kill_repeatedly(command: Command, place: Path, kills: int, seed: int) -> None:
    reference, out = place / "reference", place / "out"
    before = [contents(folder) for folder in command.inputs]
    started = time.monotonic()
    assert command.finish(reference)[0] == 0
    took = time.monotonic() - started
    wanted = contents(reference)
    assert stream.INDEX in wanted
    assert not any(name.startswith(stream.WORK) for name in wanted)
    rng = random.Random(seed)
    for _ in range(kills):
        # mostly where it writes; starting Python takes the first part
        kill_at(command, out, rng.uniform(0.4, 1.05) * took)
        if out.exists():
            assert_whole_so_far(out, wanted)
    assert command.finish(out)[0] == 0
    assert contents(out) == wanted
    assert [contents(folder) for folder in command.inputs] == before


@LINUX
@pytest.mark.parametrize("operation", ["recover", "make-delta", "merge", "convert"])
def test_killed_at_random_the_end_is_the_same_bytes(commands, tmp_path, operation):
    kill_repeatedly(commands[operation], tmp_path, kills=2, seed=len(operation))


@LINUX
@pytest.mark.soak
@pytest.mark.parametrize("operation", ["recover", "make-delta", "merge", "convert"])
def test_killed_fifty_times_the_end_is_the_same_bytes(commands, tmp_path, operation):
    for turn in range(13):
        (tmp_path / str(turn)).mkdir()
        kill_repeatedly(commands[operation], tmp_path / str(turn), kills=4, seed=1000 + turn)


class KilledAfter:
    """Progress that ends the run, as a kill would, after so many megabytes."""

    def __init__(self, megabytes: float) -> None:
        self.megabytes = megabytes
        self.lines: list[str] = []

    def step(self, done: float, total: float | None = None, unit: str = "") -> None:
        if done >= self.megabytes:
            raise KeyboardInterrupt

    def metric(self, **values: float) -> None: ...

    def log(self, line: str) -> None:
        self.lines.append(line)


def request(commands: dict[str, Command], out: Path) -> RecoverRequest:
    base, delta = commands["recover"].inputs
    return RecoverRequest(base=base, delta=delta, out=out, dtype="float32", shard_gb=0.001)


def test_finished_shards_are_not_made_again_and_those_the_disk_lost_are(commands, tmp_path):
    recover(request(commands, tmp_path / "reference"), Silent())
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        recover(request(commands, out), KilledAfter(15))
    finished = sorted((out / stream.WORK).glob("*.safetensors"))
    assert len(finished) > 3
    assert not list((out / stream.WORK).glob("*.part"))
    # what a power cut does to what was not on the disk: cut off, zeros, a flipped bit, half a line of the journal
    finished[0].write_bytes(finished[0].read_bytes()[:1000])
    finished[1].write_bytes(bytes(finished[1].stat().st_size))
    raw = bytearray(finished[2].read_bytes())
    raw[-5] ^= 4
    finished[2].write_bytes(raw)
    kept = {path.name: path.stat().st_ino for path in finished[3:]}
    with (out / stream.WORK / "journal.jsonl").open("a") as journal:
        journal.write('{"shard": "model-000')
    (out / stream.WORK / "model-00009-of-00099.safetensors.part").write_bytes(b"torn")
    again = KilledAfter(1e9)
    result = recover(request(commands, out), again)
    assert result.reused_files == len(kept)
    assert [line for line in again.lines if "made again" in line] == [
        f"{path.name} has changed since and is made again" for path in finished[:3]
    ]
    assert {name: (out / name).stat().st_ino for name in kept} == kept
    assert contents(out) == contents(tmp_path / "reference")


def test_a_finished_folder_is_checked_and_kept_and_other_wishes_are_refused(commands, tmp_path):
    out = tmp_path / "out"
    first = recover(request(commands, out), Silent())
    second = recover(request(commands, out), Silent())
    assert (first.reused_files, second.element_sum) == (0, first.element_sum)
    assert second.reused_files == len(list(out.glob("*.safetensors")))
    with pytest.raises(UserError, match="already holds"):
        recover(request(commands, out).model_copy(update={"dtype": "float16"}), Silent())


def test_two_runs_into_one_folder_are_refused(commands, tmp_path):
    with stream.locked(tmp_path / "out" / stream.WORK), pytest.raises(UserError, match="Another run"):
        recover(request(commands, tmp_path / "out"), Silent())


# The preflight would refuse at once: here the disk fills while it runs.
WITHOUT_PREFLIGHT = """
import sys
from core import __main__ as program, resources
resources.shortages = lambda needs: []
sys.exit(program.entry())
"""


def fill_disk(command: Command, place: Path, points: int) -> None:
    reference = place / "reference"
    assert command.finish(reference)[0] == 0
    wanted = contents(reference)
    total = sum(path.stat().st_size for path in reference.iterdir())
    disk = place / "disk"
    disk.mkdir()
    for point in range(points):
        size = int(total * (point + 0.5) / points)
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={max(size, 1 << 16)}", "tmpfs", str(disk)],
            capture_output=True,
            check=False,
        )
        if mounted.returncode:
            pytest.skip("mounting needs root")
        try:
            options = ["--out", str(disk / "out"), "--shard-gb", "0.001"]
            words = [sys.executable, "-c", WITHOUT_PREFLIGHT, "weights", *command.words, *options]
            done = subprocess.run(words, cwd=HERE, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 1, done.stderr
            assert "is full" in done.stderr, done.stderr
            assert_whole_so_far(disk / "out", wanted)
            subprocess.run(["mount", "-o", f"remount,size={total * 2}", str(disk)], check=True)
            assert command.finish(disk / "out")[0] == 0
            assert contents(disk / "out") == wanted
        finally:
            subprocess.run(["umount", str(disk)], check=True)


@LINUX
def test_a_full_disk_is_said_and_the_rest_is_done_when_there_is_room(commands, tmp_path):
    fill_disk(commands["recover"], tmp_path, 2)


@LINUX
@pytest.mark.soak
@pytest.mark.parametrize("operation", ["recover", "convert"])
def test_a_disk_full_at_ten_points(commands, tmp_path, operation):
    fill_disk(commands[operation], tmp_path, 10)


def flip_bits(commands: dict[str, Command], out: Path, count: int) -> None:
    recover(request(commands, out), Silent())
    known = read_card(out).files
    assert known.keys() == {path.name for path in out.glob("*.safetensors")}
    rng = random.Random(3)
    for _ in range(count):
        path = out / rng.choice(sorted(known))
        raw = bytearray(path.read_bytes())
        place, bit = rng.randrange(len(raw)), 1 << rng.randrange(8)
        raw[place] ^= bit
        path.write_bytes(raw)
        assert hashes.broken(out, known, again=True) == [path.name]
        raw[place] ^= bit
        path.write_bytes(raw)


def test_a_flipped_bit_is_noticed_and_the_file_named(commands, tmp_path):
    flip_bits(commands, tmp_path / "out", 5)


@pytest.mark.soak
def test_a_hundred_flipped_bits_are_noticed(commands, tmp_path):
    flip_bits(commands, tmp_path / "out", 100)


def test_what_is_written_is_read_back_by_our_own_distrustful_reader(commands, tmp_path):
    recover(request(commands, tmp_path / "out"), Silent())
    names = [name for path in (tmp_path / "out").glob("*.safetensors") for name in read_safetensors(path)]
    assert len(names) == len(set(names)) == 12


@LINUX
def test_a_family_whose_making_was_killed_is_made_whole(workspace, tmp_path):
    words = [sys.executable, "-m", "core", "weights", "sample-family", "--out", str(tmp_path / "family")]
    for seconds in (0.9, 1.1):
        process = subprocess.Popen(words, cwd=HERE, stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(seconds)
        process.kill()
        process.wait()
    subprocess.run(words, cwd=HERE, check=True, capture_output=True, timeout=60)
    make_family(SampleFamilyRequest(out=tmp_path / "reference"), Silent())
    for name in ("delta/model.safetensors", "lora/adapter_model.safetensors"):
        assert (tmp_path / "family" / name).read_bytes() == (tmp_path / "reference" / name).read_bytes()
    assert not list((tmp_path / "family").rglob("*.part"))
