"""Whether a model keeps packed samples apart: asked of the model itself, before anything is trained."""

from __future__ import annotations

from typing import Any

import torch

from train.collate import tensors
from train.packing import Group, Row
from train.samples import Store
from train.trainer import GIVEN


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
