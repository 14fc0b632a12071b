"""The catalog: its facts hold together, and what it says of a machine is right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import UserError
from core.operation import Silent
from core.paths import PROJECT
from core.resources import Card, Machine
from core.weights import catalog, starter
from core.weights.download import for_entry
from core.weights.listing import ListRequest, run

GB = 10**9


def machine(ram: float = 16, disk: float = 500, cores: int = 4, vram: float | None = None) -> Machine:
    gpus = () if vram is None else (Card("card", int(vram * GB), int(vram * GB)),)
    return Machine(int(ram * GB), int(ram * 0.8 * GB), int(disk * GB), int(disk * GB), cores, gpus)


def test_ids_are_one_of_a_kind_and_references_lead_somewhere() -> None:
    ids = [entry.id for entry in catalog.entries()]
    assert len(set(ids)) == len(ids)
    assert all(catalog.find(entry.base) for entry in catalog.entries() if entry.base)


def test_it_holds_what_knowlm_published_and_models_that_read_chinese() -> None:
    repositories = {repo for entry in catalog.entries() for repo in entry.sources.values()}
    assert repositories >= {
        "zjunlp/zhixi-13b-diff",
        "zjunlp/zhixi-13b-diff-fp16",
        "zjunlp/zhixi-13b-lora",
        "zjunlp/knowlm-13b-base-v1.0",
        "zjunlp/knowlm-13b-zhixi",
        "zjunlp/knowlm-13b-ie",
        "zjunlp/OneKE",
    }
    assert {entry.dialect for entry in catalog.entries()} == {"studio", "zhixi", "oneke"}
    assert any("zh" in entry.languages and entry.format == "gguf" and entry.size for entry in catalog.entries())


@pytest.mark.parametrize("entry", catalog.entries(), ids=lambda entry: entry.id)
def test_every_entry_is_plausible(entry: catalog.Entry) -> None:
    reckoned = entry.parameters * catalog.BYTES_PER_PARAMETER[entry.precision]
    if entry.kind != "adapter":
        assert 0.8 < entry.bytes / reckoned < 1.8  # narrow models keep more tensors wide
    assert entry.license and entry.languages and entry.title
    assert all(len(digest) == 64 for digest in entry.hashes.values())
    assert set(entry.hashes) <= set(entry.include)
    widest = [catalog.memory_to_run(entry, precision) for precision in catalog.precisions(entry)]
    assert widest == sorted(widest, reverse=True)


def test_the_starter_of_the_catalog_is_the_one_that_is_fetched() -> None:
    entry = catalog.find("starter")
    assert (entry.title, entry.license, entry.size) == (starter.CARD.title, starter.CARD.license, starter.GGUF_BYTES)
    assert entry.languages == starter.CARD.languages
    assert (entry.dialect, entry.prompt_form) == (starter.CARD.dialect, starter.CARD.prompt_form)


def test_an_unknown_id_is_told() -> None:
    with pytest.raises(UserError, match="holds no"):
        catalog.find("nothing")


def test_a_13b_model_fits_a_large_gpu_in_16_bits_and_a_laptop_quantized() -> None:
    entry = catalog.find("knowlm-13b-zhixi")
    large = catalog.fits(entry, machine(ram=64, vram=40))
    assert (large.ok, large.device, large.precision) == (True, "gpu", "bf16")
    laptop = catalog.fits(entry, machine(ram=16))
    assert (laptop.ok, laptop.device, laptop.precision) == (True, "cpu", "Q4_0")
    small = catalog.fits(entry, machine(ram=8))
    assert not small.ok and "8 GB" in str(small)


def test_context_takes_memory() -> None:
    entry = catalog.find("qwen3-8b-gguf")
    more = catalog.memory_to_run(entry, context=8192) - catalog.memory_to_run(entry, context=4096)
    assert more == 2 * 36 * 8 * 128 * 2 * 4096  # keys and values, 36 layers, 8 heads of 128, 16 bits


def test_a_full_disk_is_the_reason() -> None:
    fit = catalog.fits(catalog.find("qwen3-8b-gguf"), machine(disk=2))
    assert not fit.ok and "disk" in str(fit)


def test_memory_that_is_in_use_now_is_said_but_does_not_hide_a_model() -> None:
    busy = Machine(16 * GB, 1 * GB, 500 * GB, 500 * GB, 4, ())
    fit = catalog.fits(catalog.find("qwen3-4b-gguf"), busy)
    assert fit.ok and "only 1 GB are free now" in str(fit)


def test_recovering_needs_little_memory_and_much_disk() -> None:
    diff = catalog.find("zhixi-13b-diff")
    assert catalog.memory_to_recover(diff) == 450_000_000
    assert catalog.fits(diff, machine(ram=4)).ok
    assert not catalog.fits(diff, machine(disk=80)).ok
    assert catalog.memory_to_recover(catalog.find("oneke")) is None


def test_for_chinese_it_offers_models_that_read_it_and_fit_made_for_extraction_first() -> None:
    offered = catalog.for_language("zh", machine(ram=16))
    assert offered and all("zh" in one.entry.languages and one.fit.ok and one.entry.runs_alone for one in offered)
    assert offered[0].entry.trained_for_extraction
    small = catalog.for_language("zh", machine(ram=2))
    assert {one.entry.id for one in small} >= {"qwen2.5-0.5b-gguf"}
    assert "starter" not in {one.entry.id for one in offered}


def test_the_estimate_shrinks_with_parameters_and_is_none_without_ground() -> None:
    two_cores = machine(cores=2)
    speed = {one.entry.id: one.rows_per_second for one in catalog.for_language("en", two_cores)}
    assert speed["starter"] == pytest.approx(5.6)
    assert (speed["qwen2.5-0.5b-gguf"] or 0) > (speed["qwen2.5-7b-gguf"] or 0) > 0
    on_gpu = catalog.for_language("zh", machine(vram=40))
    assert all(one.rows_per_second is None for one in on_gpu if one.fit.device == "gpu")


def test_an_entry_becomes_a_download(workspace: Path) -> None:
    request = for_entry(catalog.find("qwen2.5-7b-gguf"), "modelscope")
    assert request.repo == "Qwen/Qwen2.5-7B-Instruct-GGUF" and request.source == "modelscope"
    assert len(request.include) == 2 and request.folder == workspace / "models" / "qwen2.5-7b-gguf"
    with pytest.raises(UserError, match="not published"):
        for_entry(catalog.find("llama-13b"))


def test_the_list_filters(workspace: Path) -> None:
    everything = run(ListRequest(), Silent())
    chinese = run(ListRequest(language="zh"), Silent())
    assert len(chinese.catalog) < len(everything.catalog) and all("zh" in row.languages for row in chinese.catalog)
    assert all(row.fits for row in run(ListRequest(fitting=True), Silent()).catalog)
    assert "Nothing is installed" in everything.summary()


def test_the_command_prints_both_lists(workspace: Path) -> None:
    argv = [sys.executable, "-m", "core", "models", "list", "--json"]
    answer = json.loads(subprocess.run(argv, cwd=PROJECT, capture_output=True, check=True).stdout)
    assert answer["installed"] == [] and len(answer["catalog"]) == len(catalog.entries())
