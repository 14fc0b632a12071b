"""Merged weights are those that PEFT itself would make."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import UserError
from core.models import Card, write_card
from core.operation import Silent
from core.weights.adapter import MergeRequest, merge, plan_merge

peft = pytest.importorskip("peft")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=300,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    folder = tmp_path_factory.mktemp("adapter") / "base"
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def adapted(base: Path, folder: Path, seed: int = 1, **settings):
    """A PEFT model with random adapter weights, saved; returned before merging."""
    torch.manual_seed(seed)
    model = transformers.LlamaForCausalLM.from_pretrained(base)
    config = peft.LoraConfig(**{"target_modules": LINEAR, "r": 4, "lora_alpha": 8, **settings})
    wrapped = peft.get_peft_model(model, config)
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            scale = parameter.detach().abs().mean() * 0.3 if "magnitude" in name else 0.1
            parameter.data += torch.randn_like(parameter) * scale
    wrapped.save_pretrained(folder)
    return wrapped


def expected(wrapped) -> dict:
    return wrapped.merge_and_unload().state_dict()


def ours(base: Path, adapters: tuple[Path, ...], out: Path, **settings) -> dict:
    merge(MergeRequest(base=base, adapter=adapters, out=out, **settings), Silent())
    return transformers.AutoModelForCausalLM.from_pretrained(out).state_dict()


def assert_same(found: dict, wanted: dict) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(
            found[name], tensor, rtol=1e-5, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="lora"),
        pytest.param({"use_rslora": True}, id="rslora"),
        pytest.param({"use_dora": True}, id="dora"),
        pytest.param(
            {"rank_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 3}, "alpha_pattern": {"k_proj": 32}}, id="patterns"
        ),
        pytest.param({"modules_to_save": ["lm_head", "embed_tokens"]}, id="modules_to_save"),
        pytest.param({"target_modules": ["q_proj", "embed_tokens", "lm_head"]}, id="embedding"),
        pytest.param({"target_modules": ["q_proj", "embed_tokens"], "use_dora": True}, id="dora-embedding"),
    ],
)
def test_merging_gives_what_peft_gives(base, tmp_path, settings):
    wrapped = adapted(base, tmp_path / "adapter", **settings)
    assert_same(ours(base, (tmp_path / "adapter",), tmp_path / "out"), expected(wrapped))


def test_several_adapters_are_added_with_their_weights(base, tmp_path):
    first, second = (adapted(base, tmp_path / f"adapter{seed}", seed) for seed in (1, 2))
    plain = transformers.AutoModelForCausalLM.from_pretrained(base).state_dict()
    one, two = expected(first), expected(second)
    wanted = {name: plain[name] + 0.25 * (one[name] - plain[name]) - 2 * (two[name] - plain[name]) for name in plain}
    found = ours(base, (tmp_path / "adapter1", tmp_path / "adapter2"), tmp_path / "out", weight=(0.25, -2.0))
    assert_same(found, wanted)


def test_the_merged_model_is_what_its_adapter_was_trained_for_and_allowed_what_both_allow(base, tmp_path):
    start = tmp_path / "base" / "hf"
    start.parent.mkdir()
    start.symlink_to(base)
    adapted(base, tmp_path / "lora")
    adapted(base, tmp_path / "other")
    said = {"dialect": "zhixi", "prompt_form": "raw", "languages": ("zh",), "trained_for_extraction": True}
    write_card(tmp_path / "lora", Card(title="IE LoRA", license="MIT", source="here", **said))

    def card(*adapters: str) -> Card:
        folders = tuple(tmp_path / name for name in adapters)
        return plan_merge(MergeRequest(base=start, adapter=folders, out=tmp_path / "out")).card

    # the base declares nothing
    assert card("lora") == Card(title="base + IE LoRA", license="that of the base and MIT", source="here", **said)
    write_card(base, Card(title="Base 1B", license="Apache-2.0", languages=("en",), source="there"))
    made = Card(title="Base 1B + IE LoRA", license="Apache-2.0 and MIT", source="there + here", **said)
    assert card("lora") == made
    # an adapter that says nothing stays out of it; of several, the one trained for extraction speaks
    assert card("other") == Card(title="Base 1B + other", license="Apache-2.0", languages=("en",), source="there")
    write_card(tmp_path / "other", Card(title="Chat LoRA", license="MIT"))
    assert card("other", "lora") == made.model_copy(update={"title": "Base 1B + Chat LoRA + IE LoRA"})
    (base / "studio.json").unlink()


@pytest.mark.parametrize("use_dora", [False, True])
def test_weights_stored_in_x_out_are_merged_as_peft_does(tmp_path, use_dora):
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=100, n_embd=32, n_layer=2, n_head=2, n_positions=64)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "base")
    model = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "base")
    settings = peft.LoraConfig(target_modules=["c_attn", "c_fc"], r=4, fan_in_fan_out=True, use_dora=use_dora)
    wrapped = peft.get_peft_model(model, settings)
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            parameter.data += torch.randn_like(parameter) * 0.1
    wrapped.save_pretrained(tmp_path / "adapter")
    assert_same(ours(tmp_path / "base", (tmp_path / "adapter",), tmp_path / "out"), expected(wrapped))


def test_an_adapter_that_changes_only_the_output_unties_a_tied_base(tmp_path):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=100,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=True,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "base")
    wrapped = adapted(tmp_path / "base", tmp_path / "adapter", target_modules=["q_proj", "lm_head"])
    tokens = torch.arange(20)[None]
    with torch.no_grad():
        wanted = wrapped(tokens).logits
        merge(MergeRequest(base=tmp_path / "base", adapter=(tmp_path / "adapter",), out=tmp_path / "out"), Silent())
        found = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")(tokens).logits
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_an_adapter_of_another_base_is_refused_before_anything_is_written(base, tmp_path):
    config = transformers.LlamaConfig(
        vocab_size=300, hidden_size=32, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4
    )
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "other")
    adapted(tmp_path / "other", tmp_path / "adapter")
    with pytest.raises(UserError, match=r"layers\.0.*shape"):
        merge(MergeRequest(base=base, adapter=(tmp_path / "adapter",), out=tmp_path / "out"), Silent())
    assert not (tmp_path / "out").exists()


def test_adapters_that_change_the_base_itself_are_refused(base, tmp_path):
    adapted(base, tmp_path / "adapter", init_lora_weights="pissa")
    with pytest.raises(UserError, match="pissa"):
        merge(MergeRequest(base=base, adapter=(tmp_path / "adapter",), out=tmp_path / "out"), Silent())
