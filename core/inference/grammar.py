"""GBNF grammars for engines that give us their logits, by llguidance. Only a host imports this."""

from __future__ import annotations

from typing import Any

import numpy
from llguidance import LLMatcher, LLTokenizer
from llguidance.gbnf_to_lark import gbnf_to_lark
from llguidance.hf import from_tokenizer

from core.errors import UserError


def grammar_tokenizer(tokenizer: Any, vocabulary: int) -> LLTokenizer:
    """Takes about a second: keep it. Raises UserError for tokenizers without the fast form."""
    try:
        return from_tokenizer(tokenizer, n_vocab=max(vocabulary, len(tokenizer)))
    except ValueError as error:
        raise UserError(
            "This model's tokenizer can't be kept to a grammar: {why}",
            remedy="Load the model with the engine llamacpp.",
            why=error,
        ) from error


class Constraint:
    """A logits processor for one answer: what the grammar doesn't allow next becomes impossible.

    Call as transformers does: ids [1, length], scores [1, vocabulary].
    """

    def __init__(self, tokenizer: LLTokenizer, grammar: str) -> None:
        try:
            self._matcher = LLMatcher(tokenizer, gbnf_to_lark(grammar))
            wrong = self._matcher.get_error()
        except Exception as error:  # noqa: BLE001 - the translator raises bare exceptions
            wrong = str(error)
        if wrong:
            raise UserError(
                "The grammar can't be used: {why}",
                remedy="It must be GBNF with a rule named root, and without left recursion.",
                why=wrong.splitlines()[0],
            )
        self._seen = 0

    def __call__(self, ids: Any, scores: Any) -> Any:
        import torch

        if self._seen:
            self._matcher.consume_tokens(ids[0, self._seen :].tolist())
        self._seen = ids.shape[1]
        bits = numpy.frombuffer(self._matcher.compute_bitmask(), dtype=numpy.uint8)
        allowed = numpy.unpackbits(bits, bitorder="little")[: scores.shape[1]].astype(bool)
        mask = torch.zeros(scores.shape[1], dtype=torch.bool)
        mask[: len(allowed)] = torch.from_numpy(allowed)
        return scores.masked_fill(~mask.to(scores.device), float("-inf"))
