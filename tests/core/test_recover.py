"""base + delta = tuned: to the bit where arithmetic allows, refused by name where the inputs do not belong together."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from core.models import Card, read_card, write_card
from core.operation import Silent
from core.weights import catalog, published, stream
from core.weights.delta import MakeDeltaRequest, RecoverRequest, make_delta, published_check, recover
from tests.core.test_convert import random_weights, save_meta
from tests.core.weights_models import sentencepiece_tokenizer, tiny

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
safetensors_torch = pytest.importorskip("safetensors.torch")

TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def save(folder: Path, state: dict, *, shards: int = 1, form: str = "safetensors") -> Path:
    """A checkpoint of these tensors in so many files."""
    folder.mkdir(exist_ok=True)
    names = list(state)
    weight_map = {}
    for number in range(shards):
        part = {name: state[name].contiguous().clone() for name in names[number::shards]}
        if form == "safetensors":
            file = "model.safetensors" if shards == 1 else f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
            safetensors_torch.save_file(part, folder / file, metadata={"format": "pt"})
        else:
            file = "pytorch_model.bin" if shards == 1 else f"pytorch_model-{number + 1:05d}-of-{shards:05d}.bin"
            torch.save(part, folder / file)
        weight_map |= dict.fromkeys(part, file)
    if shards > 1:
        index = {"safetensors": "model.safetensors.index.json", "bin": "pytorch_model.bin.index.json"}[form]
        (folder / index).write_text(json.dumps({"weight_map": weight_map}))
    return folder


def loaded(folder: Path) -> dict:
    state: dict = {}
    for path in sorted(folder.glob("*.safetensors")):
        state |= safetensors_torch.load_file(path)
    return state


@pytest.fixture(scope="module")
def states(tmp_path_factory) -> tuple[dict, dict, dict]:
    """(base, tuned, difference) in fp32, with a config beside them."""
    folder = tmp_path_factory.mktemp("states")
    base = tiny(folder / "base", "llama", 300).state_dict()
    torch.manual_seed(5)
    tuned = {name: tensor + 0.01 * torch.randn_like(tensor) for name, tensor in base.items()}
    return base, tuned, {name: tuned[name] - base[name] for name in base}


@pytest.mark.parametrize(
    ("base_type", "delta_type", "out_type"),
    [("float16", "float16", "same"), ("float32", "float32", "same"), ("bfloat16", "float32", "bfloat16"),
     ("float16", "bfloat16", "float32"), ("float32", "float16", "float16")],
)  # fmt: skip
def test_values_are_added_in_fp32_and_rounded_once(states, tmp_path, base_type, delta_type, out_type):
    base = {name: tensor.to(TYPES[base_type]) for name, tensor in states[0].items()}
    delta = {name: tensor.to(TYPES[delta_type]) for name, tensor in states[2].items()}
    save(tmp_path / "base", base, shards=3)
    save(tmp_path / "delta", delta, shards=2, form="bin")
    request = RecoverRequest(
        base=tmp_path / "base", delta=tmp_path / "delta", out=tmp_path / "out", dtype=out_type, shard_gb=0.0001
    )
    result = recover(request, Silent())
    found = loaded(tmp_path / "out")
    sums = {name: base[name].float() + delta[name].float() for name in base}
    for name, wanted in sums.items():
        assert torch.equal(found[name], wanted.to(TYPES[delta_type if out_type == "same" else out_type])), name
    assert result.element_sum == pytest.approx(sum(float(tensor.double().sum()) for tensor in sums.values()), abs=1e-6)


def test_a_delta_made_here_gives_the_tuned_model_back_and_counts_what_it_does_not(states, tmp_path):
    base, tuned, _ = states
    save(tmp_path / "base", {name: tensor.half() for name, tensor in base.items()})
    save(tmp_path / "tuned", {name: tensor.bfloat16() for name, tensor in tuned.items()}, shards=2)
    for dtype in ("float32", "float16"):
        delta, out = tmp_path / f"delta-{dtype}", tmp_path / f"out-{dtype}"
        made = make_delta(
            MakeDeltaRequest(base=tmp_path / "base", tuned=tmp_path / "tuned", out=delta, dtype=dtype), Silent()
        )
        recover(RecoverRequest(base=tmp_path / "base", delta=delta, out=out, dtype="bfloat16"), Silent())
        found, wanted = loaded(out), loaded(tmp_path / "tuned")
        unequal = {name: int((found[name] != wanted[name]).sum()) for name in wanted}
        manifest = json.loads((delta / stream.MANIFEST).read_text())
        counted = {name: entry["unequal"] for shard in manifest["shards"] for name, entry in shard["tensors"].items()}
        assert counted == unequal
        assert made.unequal == sum(unequal.values())
        assert dtype == "float16" or made.unequal == 0


def test_rows_for_new_tokens_are_copied_and_the_config_says_so(states, tmp_path):
    base, tuned, delta = (dict(state) for state in states)
    extra = torch.randn(3, base["lm_head.weight"].shape[1])
    for name in ("lm_head.weight", "model.embed_tokens.weight"):
        delta[name], tuned[name] = torch.cat([delta[name], extra]), torch.cat([tuned[name], extra])
    save(tmp_path / "base", base)
    save(tmp_path / "delta", delta)
    save(tmp_path / "tuned", tuned)
    (tmp_path / "delta" / "config.json").write_text(json.dumps({"vocab_size": 300, "torch_dtype": "float16"}))
    recover(RecoverRequest(base=tmp_path / "base", delta=tmp_path / "delta", out=tmp_path / "out"), Silent())
    found = loaded(tmp_path / "out")
    assert torch.equal(found["lm_head.weight"][-3:], extra)
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == {"vocab_size": 303, "dtype": "float32"}
    request = MakeDeltaRequest(base=tmp_path / "base", tuned=tmp_path / "tuned", out=tmp_path / "again")
    make_delta(request, Silent())
    assert torch.equal(loaded(tmp_path / "again")["lm_head.weight"][-3:], extra)


def test_metas_own_layout_is_read_as_base_and_the_tokenizer_comes_from_the_delta(tmp_path):
    words = sentencepiece_tokenizer(tmp_path / "delta")
    weights = random_weights(words, 8)
    save_meta(tmp_path / "base", weights, 2)
    from core.weights.convert import ConvertRequest, convert

    shutil.copy(tmp_path / "delta" / "tokenizer.model", tmp_path / "base" / "tokenizer.model")
    convert(ConvertRequest(source=tmp_path / "base", out=tmp_path / "hf"), Silent())
    (tmp_path / "base" / "tokenizer.model").unlink()
    base = loaded(tmp_path / "hf")
    delta = {name: (0.01 * torch.randn(tensor.shape)).half() for name, tensor in base.items()}
    delta["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)  # old checkpoints carry it
    save(tmp_path / "delta", delta)
    recover(RecoverRequest(base=tmp_path / "base", delta=tmp_path / "delta", out=tmp_path / "out"), Silent())
    found = loaded(tmp_path / "out")
    assert found.keys() == base.keys()
    for name in base:
        assert torch.equal(found[name], (base[name].float() + delta[name].float()).half()), name
    assert (tmp_path / "out" / "tokenizer.model").read_bytes() == (tmp_path / "delta" / "tokenizer.model").read_bytes()
    transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")


def spoil(state: dict, how: str) -> dict:
    state = dict(state)
    name = "model.layers.1.mlp.up_proj.weight"
    if how == "missing":
        del state[name]
    elif how == "extra":
        state["model.layers.2.mlp.up_proj.weight"] = state[name]
    elif how == "shape":
        state[name] = state[name][:-1]
    elif how == "integers":
        state[name] = state[name].to(torch.int32)
    elif how == "other type":
        state[name] = state[name].half()
    return state


@pytest.mark.parametrize("how", ["missing", "extra", "shape", "integers", "other type"])
@pytest.mark.parametrize("side", ["base", "delta"])
def test_what_does_not_fit_is_refused_by_name_before_a_byte_is_written(states, tmp_path, how, side):
    base, _, delta = states
    save(tmp_path / "base", spoil(base, how) if side == "base" else base)
    save(tmp_path / "delta", spoil(delta, how) if side == "delta" else delta)
    with pytest.raises(UserError, match=r"model\.layers\.[12]\.mlp\.up_proj\.weight"):
        recover(RecoverRequest(base=tmp_path / "base", delta=tmp_path / "delta", out=tmp_path / "out"), Silent())
    assert not (tmp_path / "out").exists()


def test_base_and_delta_swapped_and_whole_weights_as_delta_are_refused(states, tmp_path):
    for name, state in zip(("base", "tuned", "delta"), states, strict=True):
        save(tmp_path / name, state)
    with pytest.raises(UserError, match="swapped"):
        recover(RecoverRequest(base=tmp_path / "delta", delta=tmp_path / "base", out=tmp_path / "out"), Silent())
    with pytest.raises(UserError, match="whole weights"):
        recover(RecoverRequest(base=tmp_path / "base", delta=tmp_path / "tuned", out=tmp_path / "out"), Silent())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_value_that_is_no_number_leaves_nothing_behind(states, tmp_path, value):
    base, _, delta = states
    last = list(delta)[-2]
    spoiled = {**delta, last: delta[last].clone()}
    spoiled[last].view(-1)[-1] = value
    save(tmp_path / "base", base)
    save(tmp_path / "delta", spoiled)
    request = RecoverRequest(base=tmp_path / "base", delta=tmp_path / "delta", out=tmp_path / "out", shard_gb=0.00005)
    with pytest.raises(UserError, match="NaN") as caught:
        recover(request, Silent())
    assert last in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_value_too_large_for_the_output_is_an_error_not_an_infinity(states, tmp_path):
    base = {**states[0], "model.norm.weight": torch.full_like(states[0]["model.norm.weight"], 70_000.0)}
    save(tmp_path / "base", base)
    save(tmp_path / "delta", states[2])
    request = RecoverRequest(base=tmp_path / "base", delta=tmp_path / "delta", out=tmp_path / "out", dtype="float16")
    with pytest.raises(UserError, match="too large for F16"):
        recover(request, Silent())
    assert not (tmp_path / "out").exists()


def test_the_output_may_not_be_an_input_nor_hold_another_model(states, tmp_path):
    save(tmp_path / "base", states[0])
    save(tmp_path / "delta", states[2])
    for out in (tmp_path / "base", tmp_path / "delta" / "out"):
        with pytest.raises(UserError, match="same folder"):
            recover(RecoverRequest(base=tmp_path / "base", delta=tmp_path / "delta", out=out), Silent())
    shutil.copytree(tmp_path / "base", tmp_path / "out")
    with pytest.raises(UserError, match="already holds"):
        recover(RecoverRequest(base=tmp_path / "base", delta=tmp_path / "delta", out=tmp_path / "out"), Silent())


def test_a_published_sum_is_compared_as_its_authors_counted(tmp_path):
    folder = tmp_path / "delta"
    folder.mkdir()
    assert published_check(folder, 1.0) is None
    rotary = 40 * sum(1 / 10_000 ** (number / 64) for number in range(64))
    assert published.rotary_sum(catalog.find("zhixi-13b-diff")) == pytest.approx(rotary)
    # as the download writes it
    write_card(folder, Card(source="Hugging Face: zjunlp/zhixi-13b-diff@1a2b3c"))
    for same in (94052.2951, 94052.2891 - rotary, 94051.5):
        assert "agrees" in (published_check(folder, same) or "")
    # the fp16 difference, half the rotary frequencies, another model
    for other in (94046.1875, 94052.2891 - rotary / 2, 1.0):
        assert "another model" in (published_check(folder, other) or "")
    write_card(folder, Card(source="Hugging Face: zjunlp/zhixi-13b-diff-fp16@1a2b3c"))
    assert published_check(folder, 94052.2951) is None
    (tmp_path / "ZhiXi-13B-Diff").mkdir()
    assert "agrees" in (published_check(tmp_path / "ZhiXi-13B-Diff", 94052.2951) or "")


def test_the_command_shows_its_plan_and_the_manifest_knows_every_tensor(states, tmp_path):
    save(tmp_path / "base", states[0])
    save(tmp_path / "delta", states[2])
    command = [sys.executable, "-m", "core", "weights", "recover", "--base", str(tmp_path / "base")]
    command += ["--delta", str(tmp_path / "delta"), "--out", str(tmp_path / "out"), "--dtype", "fp16"]
    shown = subprocess.run([*command, "--plan"], capture_output=True, text=True, check=True).stdout
    assert all(name in shown for name in states[0])
    assert "memory: 300 MB" in shown
    assert not (tmp_path / "out").exists()
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["tensors"] == len(states[0])
    manifest = json.loads((tmp_path / "out" / stream.MANIFEST).read_text())
    import hashlib

    for name, tensor in loaded(tmp_path / "out").items():
        digest = hashlib.sha256(np.ascontiguousarray(tensor.numpy()).tobytes()).hexdigest()
        assert manifest["shards"][0]["tensors"][name]["sha256"] == digest
    file = tmp_path / "out" / "model.safetensors"
    assert read_card(tmp_path / "out").files == {file.name: hashlib.sha256(file.read_bytes()).hexdigest()}
