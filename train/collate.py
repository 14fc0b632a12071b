"""Rows of a forward pass as tensors: tokens, positions, who may attend to whom, and what is to be predicted where."""

from __future__ import annotations

from typing import Any

import numpy as np

from train.packing import Row
from train.samples import Store

ALONE = -1
EVEN = 32
"""Rows are padded to a multiple of this: with fewer different shapes, allocators and kernels reuse what they made."""


def tensors(rows: list[Row], store: Store, pad: int, *, packs: bool = True) -> dict[str, Any]:
    """For B rows of up to L tokens:

    `input_ids`, `position_ids` (B, L); `attention_mask` (B, 1, L, L) of bool: a token attends to the tokens
    before it in its own sample and in the start that its sample shares with others, as if it stood alone;
    `predicts` (N,): indices into B*L of the tokens whose next one is to be learned, `targets` (N,), and
    `of` (N,): the number of the sample each belongs to; `tokens`: how many are no padding.
    An empty pass (no rows) is one padding token that teaches nothing.
    Without `packs` (rows of one sample each) no positions are told and `attention_mask` is (B, L): what any causal
    model takes, also one that has no such thing as attention.
    """
    import torch

    laid = [_lay(row, store) for row in rows] or [_nothing(pad)]
    length = -(-max(len(one["ids"]) for one in laid) // EVEN) * EVEN
    shape = (len(laid), length)
    ids, positions = np.full(shape, pad, np.int64), np.zeros(shape, np.int64)
    own, parent = np.full(shape, ALONE, np.int64), np.full(shape, ALONE - 1, np.int64)
    predicts, targets, of = [], [], []
    for at, one in enumerate(laid):
        width = len(one["ids"])
        ids[at, :width], positions[at, :width] = one["ids"], one["positions"]
        own[at, :width], parent[at, :width] = one["own"], one["parent"]
        predicts.append(one["predicts"] + at * length)
        targets.append(one["targets"])
        of.append(one["of"])
    made = {
        "input_ids": torch.from_numpy(ids),
        "predicts": torch.from_numpy(np.concatenate(predicts)),
        "targets": torch.from_numpy(np.concatenate(targets)),
        "of": torch.from_numpy(np.concatenate(of)),
        "tokens": torch.tensor(int((own != ALONE).sum())),
    }
    if not packs:
        # all that can be seen of an empty pass is its padding, and softmax needs something
        seen = (own != ALONE) | (own[:, :1] == ALONE)
        return made | {"attention_mask": torch.from_numpy(seen.astype(np.int64))}
    order = np.arange(length)
    sees = (own[:, :, None] == own[:, None, :]) | (parent[:, :, None] == own[:, None, :])
    mask = sees & (order[:, None] >= order[None, :])[None]
    return made | {"position_ids": torch.from_numpy(positions), "attention_mask": torch.from_numpy(mask[:, None])}


def _lay(row: Row, store: Store) -> dict[str, np.ndarray]:
    ids, positions, own, parent, predicts, targets, of = [], [], [], [], [], [], []
    at = segment = 0
    for group in row.groups:
        start, before = at, ALONE - 1
        if group.shared:
            ids.append(store.tokens(group.samples[0])[: group.shared])
            positions.append(np.arange(group.shared))
            own.append(np.full(group.shared, segment))
            parent.append(np.full(group.shared, ALONE - 1))
            before, segment, at = segment, segment + 1, at + group.shared
        for sample in group.samples:
            tokens, learned = store.tokens(sample)[group.shared :], store.mask(sample)[group.shared :]
            ids.append(tokens)
            positions.append(np.arange(group.shared, group.shared + len(tokens)))
            own.append(np.full(len(tokens), segment))
            parent.append(np.full(len(tokens), before))
            where = np.nonzero(learned)[0]
            where = where if group.shared else where[where > 0]
            # the token before the first of its own is the last shared one
            predicts.append(np.where(where > 0, at + where - 1, start + group.shared - 1))
            targets.append(tokens[where])
            of.append(np.full(len(where), sample))
            segment, at = segment + 1, at + len(tokens)
    return {
        "ids": np.concatenate(ids),
        "positions": np.concatenate(positions),
        "own": np.concatenate(own),
        "parent": np.concatenate(parent),
        "predicts": np.concatenate(predicts).astype(np.int64),
        "targets": np.concatenate(targets).astype(np.int64),
        "of": np.concatenate(of).astype(np.int64),
    }


def _nothing(pad: int) -> dict[str, np.ndarray]:
    none, one = np.zeros(0, np.int64), np.zeros(1, np.int64)
    laid = {"ids": one + pad, "positions": one, "own": one + ALONE, "parent": one + ALONE - 1}
    return laid | {"predicts": none, "targets": none, "of": none}
