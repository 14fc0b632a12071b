"""A recovery, walked through whole on the sample family of random weights; its states are read off files."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core import models, paths
from core.errors import UserError
from core.operation import Silent
from core.weights import recovery, recovery_run, recovery_steps, recovery_tidy
from core.weights.recovery import Part, Recovery
from core.weights.recovery_run import RecoveryRequest
from core.weights.sample_family import SampleFamilyRequest
from core.weights.sample_family import run as make_family
from tests.core.loopback_hub import Hub

KILLS = 6


def states(name: str) -> dict[str, str]:
    return {step.key: step.state for step in recovery_steps.steps(recovery.read(name))}


def run(name: str, step: str = "all") -> recovery_run.RecoveryResult:
    return recovery_run.run(RecoveryRequest(name=name, step=step), Silent())  # type: ignore[arg-type]


def without_mark(gguf: Path) -> bytes:
    """The file less the mark of what it was made from, in which the times of its inputs count."""
    data = gguf.read_bytes()
    return re.sub(rb"[0-9a-f]{64}", b"", data[:4096]) + data[4096:]


def sample() -> Recovery:
    return recovery.begin(recovery.sample())


@pytest.fixture
def family(workspace: Path, tmp_path: Path) -> Path:
    """base, delta and lora as folders of the person's own."""
    make_family(SampleFamilyRequest(out=tmp_path / "family"), Silent())
    return tmp_path / "family"


def own(family: Path, **changes: object) -> Recovery:
    parts = {field: Part(folder=family / part) for field, part in (("base", "base"), ("delta", "delta"))}
    made = Recovery(name="mine", family="own", adapter=Part(folder=family / "lora"), **parts)
    return recovery.begin(made.model_copy(update=changes))


def test_one_run_goes_from_nothing_to_a_checked_model_that_is_listed(workspace: Path) -> None:
    sample()
    assert list(states("sample-family").values()) == ["next", "next", "waiting", "waiting", "waiting", "waiting"]
    made = run("sample-family")
    assert [one.step for one in made.steps] == ["base", "recover", "merge", "export", "verify"]
    assert set(states("sample-family").values()) == {"done"}
    assert 0 < made.memory < 2_000_000_000
    (gguf, full) = models.installed()
    assert (gguf.ref, gguf.format, full.ref) == ("sample-family", "gguf", "sample-family/hf")
    assert recovery_steps.model_ref(recovery.read("sample-family")) == "sample-family"
    assert run("sample-family").steps == (), "nothing is left to do"


def test_each_step_can_be_run_on_its_own_in_order(workspace: Path) -> None:
    sample()
    with pytest.raises(UserError, match="needs what the steps before it make"):
        run("sample-family", "merge")
    for step in ("base", "recover", "merge", "export", "verify"):
        assert states("sample-family")[step] == "next"
        run("sample-family", step)
        assert states("sample-family")[step] == "done"


def test_killed_at_any_moment_it_goes_on_and_ends_with_the_same_bytes(workspace: Path) -> None:
    chosen = sample()
    run("sample-family")
    gguf = recovery.out_of(chosen, "export")
    wanted = without_mark(gguf)
    recovery_tidy.forget(chosen)
    shutil.rmtree(gguf.parent)
    sample()
    for _ in range(KILLS):
        command = [sys.executable, "-m", "core", "weights", "recovery", "sample-family"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0.5, 1.1))
        process.kill()
        process.wait()
    run("sample-family")
    assert without_mark(gguf) == wanted
    assert set(states("sample-family").values()) == {"done"}


def test_a_torn_output_is_not_taken_for_done(workspace: Path) -> None:
    chosen = sample()
    run("sample-family")
    (recovery.out_of(chosen, "recover") / "model.safetensors").unlink()
    recovery_tidy.remove_spent(chosen, ["merge"])
    recovery.out_of(chosen, "export").unlink()
    assert list(states("sample-family").values()) == ["done", "done", "next", "waiting", "waiting", "waiting"]


def test_spent_inputs_are_named_with_their_size_and_the_steps_stay_done(workspace: Path) -> None:
    chosen = sample()
    run("sample-family")
    spent = recovery_tidy.spent_inputs(chosen)
    assert [one.key for one in spent] == ["base", "delta", "recover", "adapter", "merge"]
    assert all(one.bytes > 100_000 for one in spent)
    recovery_tidy.remove_spent(chosen, [one.key for one in spent])
    assert not any(one.path.exists() for one in spent)
    assert list(states("sample-family").values()) == ["spent", "spent", "spent", "spent", "done", "done"]
    assert models.resolve("sample-family").format == "gguf"


def test_nothing_is_spent_before_it_has_served(workspace: Path) -> None:
    chosen = sample()
    run("sample-family", "base")
    assert recovery_tidy.spent_inputs(chosen) == []
    run("sample-family", "recover")
    assert [one.key for one in recovery_tidy.spent_inputs(chosen)] == ["base", "delta"]


def test_a_persons_own_folders_are_never_removed(family: Path) -> None:
    chosen = own(family)
    run("mine")
    assert [one.key for one in recovery_tidy.spent_inputs(chosen)] == ["recover", "merge"]
    recovery_tidy.remove_spent(chosen, ["base", "delta", "adapter"])
    recovery_tidy.forget(chosen)
    assert {path.name for path in family.iterdir()} >= {"base", "delta", "lora"}
    assert recovery.names() == []
    assert models.resolve("mine").path is not None, "the model stays"


def test_a_wrong_folder_is_the_operations_own_error_at_its_step(family: Path, tmp_path: Path) -> None:
    own(family, base=Part(folder=tmp_path / "nowhere"))
    (base, *_) = recovery_steps.steps(recovery.read("mine"))
    assert base.state == "wrong"
    assert "There is no folder" in str(base.error)
    with pytest.raises(UserError, match="There is no folder"):
        run("mine")


def test_swapped_base_and_difference_are_told_before_anything_runs(family: Path) -> None:
    own(family, base=Part(folder=family / "delta"), delta=Part(folder=family / "base"))
    recover = next(step for step in recovery_steps.steps(recovery.read("mine")) if step.key == "recover")
    assert "swapped" in str(recover.error)


def test_an_output_of_other_inputs_is_told_and_made_again(family: Path, tmp_path: Path) -> None:
    chosen = own(family)
    run("mine")
    shutil.copytree(family / "delta", tmp_path / "other")
    os.utime(tmp_path / "other" / "model.safetensors")  # as a file of other weights has another time
    recovery.write(chosen.model_copy(update={"delta": Part(folder=tmp_path / "other")}))
    stale = next(step for step in recovery_steps.steps(recovery.read("mine")) if step.key == "recover")
    assert stale.state == "wrong"
    assert "other inputs" in str(stale.error)
    recovery_tidy.undo(recovery.read("mine"), "recover")
    assert states("mine")["recover"] == "next"
    run("mine")
    assert set(states("mine").values()) == {"done"}


def test_without_an_adapter_the_recovered_weights_are_the_model(family: Path) -> None:
    own(family, adapter=None)
    made = run("mine")
    assert [one.step for one in made.steps] == ["recover", "export", "verify"]
    assert models.resolve("mine/hf").path == paths.models() / "mine" / "hf"


def test_published_weights_are_only_fetched_and_quantized(family: Path) -> None:
    own(family, adapter=None)
    run("mine")
    whole = Part(folder=paths.models() / "mine" / "hf")
    recovery.begin(Recovery(name="whole", family="merged", base=whole, adapter=None))
    assert [one.step for one in run("whole").steps] == ["export", "verify"]
    assert models.resolve("whole").title == "ZhiXi 13B"


def test_a_repository_is_downloaded_first(family: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub = Hub()
    try:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        served = ("adapter_config.json", "adapter_model.safetensors")
        hub.files["someone/lora"] = {name: (family / "lora" / name).read_bytes() for name in served}
        chosen = own(family, adapter=Part(repo="someone/lora"))
        assert recovery_steps.downloads(chosen, "merge")
        run("mine")
        assert set(states("mine").values()) == {"done"}
        assert "adapter" in [one.key for one in recovery_tidy.spent_inputs(chosen)]
    finally:
        hub.close()


def test_what_is_not_chosen_yet_is_named(workspace: Path) -> None:
    recovery.begin(recovery.of_zhixi("zhixi", "zhixi-13b-diff"))
    chosen = recovery.read("zhixi")
    assert recovery_steps.not_chosen(chosen) == ["base"]
    with pytest.raises(UserError, match="neither a folder nor a repository"):
        run("zhixi")
    needs = recovery_run.needs_of(chosen, list(recovery.keys(chosen)))
    assert needs.ram is not None
    assert needs.ram <= 450_000_000, "13B too is recovered in little memory"
    assert needs.disk is not None
    assert 100e9 < needs.disk < 150e9, "difference, recovered, merged and quantized weights side by side"


@pytest.mark.parametrize(("ram", "quant"), [(8, "Q4_0"), (16, "Q4_0"), (24, "Q8_0"), (64, "Q8_0")])
def test_the_precision_is_proposed_from_the_machines_memory(ram: int, quant: str) -> None:
    assert recovery.proposed_quant(13_015_864_320, ram * 10**9) == quant


def test_a_typed_place_is_a_folder_or_a_repository(tmp_path: Path) -> None:
    assert recovery.part("") == Part()
    assert recovery.part(str(tmp_path)) == Part(folder=tmp_path)
    assert recovery.part(" zjunlp/zhixi-13b-lora ") == Part(repo="zjunlp/zhixi-13b-lora")
    for wrong in ("no name at all", "a/../b", "one/two/three"):
        with pytest.raises(UserError, match="neither a folder nor a repository"):
            recovery.part(wrong)


def test_names_lead_nowhere_else_and_are_taken_once(workspace: Path) -> None:
    sample()
    with pytest.raises(UserError, match="is taken"):
        sample()
    with pytest.raises(UserError, match="There is no recovery"):
        recovery.read("../settings")
    with pytest.raises(UserError, match="can't be a name"):
        recovery.named("../up")


def test_what_is_made_on_the_way_can_lie_elsewhere_but_not_among_a_persons_files(family: Path, tmp_path: Path) -> None:
    (tmp_path / "disk" / "mine").mkdir(parents=True)
    (tmp_path / "disk" / "mine" / "thesis.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(UserError, match="is not empty"):
        own(family, folder=tmp_path / "disk")
    chosen = own(family, folder=tmp_path / "other")
    run("mine", "recover")
    assert (tmp_path / "other" / "mine" / "recovered" / "model.safetensors").is_file()
    recovery_tidy.forget(chosen)
    assert not (tmp_path / "other" / "mine").exists()


def test_a_flipped_bit_is_named_by_the_verification_and_the_file_can_be_made_again(workspace: Path) -> None:
    chosen = sample()
    run("sample-family")
    gguf = recovery.out_of(chosen, "export")
    data = bytearray(gguf.read_bytes())
    data[-1000] ^= 1
    gguf.write_bytes(data)
    assert states("sample-family")["verify"] == "next", "a changed file is no longer verified"
    with pytest.raises(UserError, match=gguf.name):
        run("sample-family")
    recovery_tidy.undo(chosen, "export")
    assert [one.step for one in run("sample-family").steps] == ["export", "verify"]


def test_a_spoiled_file_is_told_with_its_remedy(workspace: Path) -> None:
    (recovery.folder() / "odd.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="can't be read"):
        recovery.read("odd")
