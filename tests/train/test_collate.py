"""A packed pass gives the logits, losses and gradients of its samples one by one; what can't be packed is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.train.conftest import rows
from train import adapters, samples
from train.collate import EVEN, tensors
from train.leaks import packing_is_exact
from train.packing import Plan, groups_of
from train.samples import Sample, Store
from train.talks import Message, Talk
from train.trainer import GIVEN, AnswersOnly


@pytest.fixture
def store(tmp_path: Path, tokenizer: Any) -> Store:
    """Rows with long common starts, two with the same prompt, and a conversation of several answers."""
    made: list[Sample] = []
    for row in [*rows(12), {**rows(1)[0], "output": "another answer"}]:
        asked = f"{row['instruction']} " * 4 + row["input"]
        talk = Talk("x:1", (Message("user", asked), Message("assistant", row["output"])))
        made += samples.encode(tokenizer, talk, "chat", limit=999)
    said = [
        Message(role, text) for role, text in [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    ]  # type: ignore[arg-type]
    made += samples.encode(tokenizer, Talk("x:2", tuple(said)), "chat", limit=999)
    return samples.write(made, tmp_path / "store")


def loaded(folder: Path) -> Any:
    return adapters.load(folder, method="full", precision="fp32", checkpointing=False, device="cpu").eval()


def alone(model: Any, store: Store) -> dict[int, torch.Tensor]:
    """The plainest way: each sample by itself, without mask or positions, full logits."""
    made = {}
    for number in range(len(store)):
        ids = torch.from_numpy(np.array(store.tokens(number), np.int64))[None]
        where = np.nonzero(store.mask(number))[0]
        logits = model(input_ids=ids, use_cache=False).logits[0]
        made[number] = torch.nn.functional.cross_entropy(logits[where - 1], ids[0, where], reduction="none")
    return made


def packed(model: Any, store: Store, *, share: bool, packs: bool = True) -> dict[int, torch.Tensor]:
    """As training does it: planned, packed, logits where something is learned."""
    starts = np.asarray([int(np.argmax(store.mask(number))) for number in range(len(store))])
    groups = groups_of([store.tokens(number) for number in range(len(store))], starts)
    if share:
        assert max(shared for _, shared in groups) > 40
    else:
        groups = [((number,), 0) for number in range(len(store))]
    width = 400 if packs else 1
    plan = Plan(store.lengths, tuple(groups), seed=0, epochs=1, batch=99, width=width, pass_tokens=500)
    answers = AnswersOnly(model)
    found: dict[int, list[torch.Tensor]] = {}
    for hand in plan.dealt(0):
        inputs = tensors(hand, store, 1, packs=packs)
        assert inputs["input_ids"].shape[1] % EVEN == 0
        with answers.at(inputs["predicts"]):
            logits = model(**{name: inputs[name] for name in GIVEN if name in inputs}, use_cache=False).logits[0]
        losses = torch.nn.functional.cross_entropy(logits, inputs["targets"], reduction="none")
        for number in inputs["of"].unique().tolist():
            found.setdefault(number, []).append(losses[inputs["of"] == number])
    return {number: torch.cat(parts) for number, parts in found.items()}


def gradients(model: Any, losses: dict[int, torch.Tensor]) -> dict[str, torch.Tensor]:
    model.zero_grad()
    torch.cat(list(losses.values())).sum().backward()
    return {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


@pytest.mark.parametrize("share", [False, True], ids=["packed", "shared start"])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "falcon"])
def test_packed_is_what_samples_give_one_by_one(
    kind: str, share: bool, base: Callable[..., Path], store: Store
) -> None:
    model = loaded(base(kind))
    assert packing_is_exact(model, store, 1)
    wanted = alone(model, store)
    by_one = gradients(model, wanted)
    found = packed(model, store, share=share)
    assert found.keys() == wanted.keys()
    for number, losses in wanted.items():
        torch.testing.assert_close(found[number], losses, rtol=1e-4, atol=1e-5)
    together = gradients(model, found)
    assert together.keys() == by_one.keys()
    for name, gradient in by_one.items():
        torch.testing.assert_close(together[name], gradient, rtol=2e-3, atol=2e-4 * float(gradient.abs().max() + 1e-6))


@pytest.mark.parametrize("kind", ["bloom", "mamba", "mistral"])
def test_what_lets_packed_samples_see_each_other_is_known_and_trained_exactly_without(
    kind: str, base: Callable[..., Path], store: Store
) -> None:
    """ALiBi takes no positions, a state goes on from sample to sample, a window is not in our masks."""
    model = loaded(base(kind))
    assert not packing_is_exact(model, store, 1)
    with torch.no_grad():
        wanted, found = alone(model, store), packed(model, store, share=False, packs=False)
    for number, losses in wanted.items():
        torch.testing.assert_close(found[number], losses, rtol=1e-4, atol=1e-5)


def test_an_eager_attention_that_takes_our_mask_for_numbers_is_not_packed(
    base: Callable[..., Path], store: Store
) -> None:
    model = loaded(base("llama"))
    model.set_attn_implementation("eager")
    assert not packing_is_exact(model, store, 1)


def test_other_tokens_beside_a_sample_change_nothing_of_it(base: Callable[..., Path], store: Store) -> None:
    model = loaded(base("llama"))
    plan = Plan(store.lengths, (((0,), 0), ((1,), 0), ((2,), 0)), seed=0, epochs=1, batch=3, width=999, pass_tokens=999)
    plan = Plan(store.lengths[:3], plan.groups, seed=0, epochs=1, batch=3, width=999, pass_tokens=999)
    (hand,) = plan.dealt(0)
    inputs = tensors(hand, store, 1)
    given = {name: inputs[name] for name in GIVEN}
    with torch.no_grad():
        one = model(**given).logits[0]
        last = int((inputs["position_ids"][0] == 0).nonzero().flatten()[2])  # where the third sample begins
        given["input_ids"] = given["input_ids"].clone()
        given["input_ids"][0, :last] = torch.randint(3, 200, (last,))
        other = model(**given).logits[0]
    end = int(inputs["tokens"])
    assert torch.equal(one[last:end], other[last:end])
    assert not torch.equal(one[:last], other[:last])


def test_an_empty_pass_teaches_nothing_and_computes(base: Callable[..., Path], store: Store) -> None:
    model = loaded(base("llama"))
    for packs in (True, False):
        inputs = tensors([], store, 1, packs=packs)
        assert len(inputs["targets"]) == len(inputs["predicts"]) == int(inputs["tokens"]) == 0
        logits = model(**{name: inputs[name] for name in GIVEN if name in inputs}).logits
        assert torch.isfinite(logits).all()
