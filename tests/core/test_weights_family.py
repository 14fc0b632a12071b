"""The sample family walks the whole way: base in Meta's layout + difference + adapter = the model it came from."""

from __future__ import annotations

import pytest

from core.models import STARTER
from core.operation import Silent
from core.weights.adapter import MergeRequest, merge
from core.weights.convert import ConvertRequest, convert
from core.weights.delta import RecoverRequest, recover
from core.weights.export import ExportRequest, run
from core.weights.sample_family import SampleFamilyRequest
from core.weights.sample_family import run as make_family
from tests.core.weights_models import byte_level_tokenizer, tiny

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def walk(folder, **settings):
    """base, delta and lora, recovered and merged in fp32."""
    family = make_family(SampleFamilyRequest(out=folder / "family", **settings), Silent())
    recover(RecoverRequest(base=family.base, delta=family.delta, out=folder / "recovered", dtype="float32"), Silent())
    merge(MergeRequest(base=folder / "recovered", adapter=(family.lora,), out=folder / "merged"), Silent())
    return family


def test_the_walk_ends_at_the_model_that_the_family_was_made_of(workspace, tmp_path):
    source = workspace / "models" / STARTER / "hf"
    source.mkdir(parents=True)
    words = byte_level_tokenizer(source, "smollm") // 2 * 2 + 2
    # three heads: the cut into two shards falls inside one
    heads = {"num_attention_heads": 6, "num_key_value_heads": 3, "hidden_size": 96, "rope_theta": 20_000.0}
    original = tiny(source, "llama", words, tie_word_embeddings=True, **heads)
    walk(tmp_path)
    end = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    ids = torch.arange(40)[None]
    with torch.no_grad():
        torch.testing.assert_close(end(ids).logits, original(ids).logits, rtol=0.02, atol=0.02)
        base = torch.load(tmp_path / "family" / "base" / "consolidated.01.pth", weights_only=True)
        assert base["layers.0.attention.wq.weight"].shape == (48, 96)
        middle = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "recovered")
        assert (middle(ids).logits - original(ids).logits).abs().max() > 0.1


def test_without_a_starter_the_family_is_random_and_still_walks(workspace, tmp_path):
    family = walk(tmp_path)
    assert family.made_from == "random weights"
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "merged")
    assert tokenizer.decode(tokenizer("Any text, 王").input_ids) == "Any text, 王"
    made = run(ExportRequest(model=tmp_path / "merged", out=tmp_path / "end.gguf"), Silent())
    assert made.out.stat().st_size > 500_000


def test_its_base_can_be_converted_on_its_own_and_recovers_to_the_same(workspace, tmp_path):
    family = walk(tmp_path)
    convert(ConvertRequest(source=family.base, out=tmp_path / "base"), Silent())
    config = transformers.AutoConfig.from_pretrained(tmp_path / "base")
    assert (config.bos_token_id, config.eos_token_id) == (256, 257)
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "base")("Any").input_ids
    request = RecoverRequest(base=tmp_path / "base", delta=family.delta, out=tmp_path / "again", dtype="float32")
    recover(request, Silent())
    same = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("recovered", "again")]
    assert same[0] == same[1]
