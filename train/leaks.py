"""Whether a model keeps packed samples apart: asked of the model itself, before anything is trained."""

from __future__ import annotations

from typing import Any

import torch

from train.collate import tensors
from train.packing import Group, Row
from train.samples import Store
from train.trainer import GIVEN


def keeps_samples_apart(model: Any, store: Store, pad: int) -> bool:
    """`packing_is_exact` of a model, or, where ZeRO-3 has shared out its weights, of a small one of its kind."""
    return packing_is_exact(_whole(model), store, pad)


def keeps_rows_apart(model: Any, rows: Any, number: int, pad: int) -> bool:
    """The same of pretraining's rows: whether other tokens in a row's first sample change nothing in the others, to
    the bit, and these get the logits that they get alone, up to rounding. `number`: a row of several samples."""
    from train.pretrain_data import collate

    model = _whole(model)
    windows = [getattr(model.config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    row = rows[number]
    if any(window and len(row.ids) > window for window in windows):
        return False
    first = int(row.ends[0])

    def said(*, apart: bool, other: bool = False) -> Any:
        inputs = {
            name: made.to(model.device) for name, made in collate([number], rows, pad=pad, micro=1, apart=apart).items()
        }
        ids = inputs["input_ids"]
        if other:
            ids[0, :first] = ids[0, :first].flip(0)
        with torch.no_grad():
            logits = model(**{name: inputs[name] for name in GIVEN if name in inputs}, use_cache=False).logits
        return logits.reshape(-1, logits.shape[-1])[inputs["predicts"]].float()

    own = int(row.learned[:first].sum())
    was_training = model.training
    model.eval()
    try:
        alone, beside, beside_other = (
            said(apart=True)[own:],
            said(apart=False)[own:],
            said(apart=False, other=True)[own:],
        )
    except (TypeError, ValueError, RuntimeError):  # a model that takes no positions or no such mask
        return False
    finally:
        model.train(was_training)
    return torch.equal(beside, beside_other) and bool((alone - beside).abs().mean() < 0.1 * alone.std())


def _whole(model: Any) -> Any:
    from transformers.integrations import deepspeed

    return _small(model.config) if deepspeed.is_deepspeed_zero3_enabled() else model


def _small(config: Any) -> Any:
    """A new model with two of its layers, whole on every rank."""
    import copy

    from transformers import AutoModelForCausalLM
    from transformers.integrations import deepspeed

    config = copy.deepcopy(config)
    config.num_hidden_layers = min(2, config.num_hidden_layers)
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[: config.num_hidden_layers]
    held = deepspeed._hf_deepspeed_config_weak_ref
    deepspeed.unset_hf_deepspeed_config()
    try:
        with torch.random.fork_rng(devices=[]):
            return AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    finally:
        deepspeed._hf_deepspeed_config_weak_ref = held


def packing_is_exact(model: Any, store: Store, pad: int) -> bool:
    """Whether samples side by side get the logits that they get alone, seen on the longest and another one.

    Other tokens in the first may change nothing in the second, to the bit; and what the second gets when it is
    asked as inference does may differ by rounding only.
    """
    lengths = store.lengths
    longest = int(lengths.argmax())
    windows = [getattr(model.config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    if any(window and lengths[longest] > window for window in windows):
        return False  # our masks let a token see all of its sample
    if len(store) < 2:
        return True
    first, second = (Group((number,), 0, int(lengths[number])) for number in (int(longest == 0), longest))
    learned = store.mask(longest).nonzero()[0]
    learned = learned[learned > 0]

    def said(*, packs: bool, other: bool = False) -> Any:
        row = Row((first, second) if packs else (second,))
        inputs = {name: value.to(model.device) for name, value in tensors([row], store, pad, packs=packs).items()}
        ids = inputs["input_ids"]
        if other:
            ids[0, : first.tokens] = ids[0, : first.tokens].flip(0)
        with torch.no_grad():
            logits = model(**{name: inputs[name] for name in GIVEN if name in inputs}, use_cache=False).logits[0]
        return logits[inputs["predicts"][-len(learned) :]].float()

    was_training = model.training
    model.eval()
    try:
        alone, beside, beside_other = said(packs=False), said(packs=True), said(packs=True, other=True)
    except (TypeError, ValueError, RuntimeError):  # a model that takes no positions or no such mask
        return False
    finally:
        model.train(was_training)
    return torch.equal(beside, beside_other) and bool((alone - beside).abs().mean() < 0.1 * alone.std())
