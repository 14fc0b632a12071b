"""`python -m train.look --request FILE --base FOLDER --out FILE`: training rows as a model will see them.

Started by core.launchers.look. Reads a tokenizer and the rows, never a model; the samples are those that the
training itself would make of them (train.prepare).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from core import models
from core.errors import UserError
from core.inference.prompting import Form
from core.launchers.finetune import FinetuneRequest
from core.launchers.look import LookRequest, LookResult, Refused, Seen
from train import prepare, talks
from train.samples import Sample

LISTED = 50
"""Refused rows, duplicates and leaks that are named; all are counted."""
PIECES = 3000
REPORT_EVERY = 500
UNFINISHED = "\ufffd"
LONGEST_CHARACTER = 4
"""Bytes, so tokens, that a character can be spread over."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--request", type=Path, required=True)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    request = LookRequest.model_validate_json(given.request.read_text(encoding="utf-8"))
    counter = given.out.with_suffix(".rows")
    try:
        made = look(request, given.base, lambda rows: counter.write_text(str(rows), encoding="ascii"))
    except UserError as error:
        print(f"UserError: {json.dumps(error.to_dict(), ensure_ascii=False)}", file=sys.stderr, flush=True)
        return 1
    given.out.write_text(made.model_dump_json(), encoding="utf-8")
    return 0


def look(request: LookRequest, base: Path, told: Callable[[int], Any] = lambda rows: None) -> LookResult:
    """Raises UserError where no row can be read at all. `told` hears now and then how many rows were read."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    training = request.training(base / "unused")
    form = prepare.form_of(training, models.card_of(base).prompt_form, tokenizer)
    return _Account(request, training, tokenizer, form, told).result()


class _Account:
    """What becomes of the rows (prepare.placed), with each row's place kept."""

    def __init__(
        self, request: LookRequest, training: FinetuneRequest, tokenizer: Any, form: Form, told: Callable[[int], Any]
    ) -> None:
        self.request, self.training, self.tokenizer, self.form, self.told = request, training, tokenizer, form, told
        self.refused = _Refused()
        self.whole: dict[bytes, str] = {}
        self.prompts: dict[bytes, str] = {}
        self.duplicates: list[tuple[str, str]] = []
        self.leaks: list[tuple[str, str]] = []
        self.shown: list[Seen] = []
        self.rows = self.trained = self.validated = self.tokens = self.learned = self.longest = 0
        self.complete = True

    def result(self) -> LookResult:
        for one in prepare.placed(self.training, self.tokenizer, self.form, self.refused, self._cut):
            if one.part == "leak":
                self.leaks.append((one.sample.where, self.prompts[one.prompt]))
            elif one.part == "validation":
                self._validate(one.sample)
            else:
                self.prompts.setdefault(one.prompt, one.sample.where)
                if one.part == "train":
                    self._train(one.sample)
        return LookResult(
            form=self.form,
            rows=self.rows,
            whole=self.complete,
            trained=self.trained,
            validated=self.validated,
            tokens=self.tokens,
            learned=self.learned,
            longest=self.longest,
            refused_rows=self.refused.number,
            refused=tuple(Refused(where=one.where, why=one.why.to_dict()) for one in self.refused),
            duplicate_rows=len(self.duplicates),
            duplicates=tuple(self.duplicates[:LISTED]),
            leaked_rows=len(self.leaks),
            leaks=tuple(self.leaks[:LISTED]),
            samples=tuple(self.shown),
        )

    def _cut(self, samples: Iterator[Sample]) -> Iterator[Sample]:
        """At most `most` rows of these files; refused rows count as rows."""
        earlier, read, known = self.rows, 0, self.refused.number
        for sample in samples:
            if self.request.most and read + self.refused.number - known >= self.request.most:
                self.complete = False
                break
            read += 1
            if read % REPORT_EVERY == 0:
                self.told(earlier + read + self.refused.number - known)
            yield sample
        self.rows = earlier + read + self.refused.number - known

    def _train(self, sample: Sample) -> None:
        all_ = prepare.digest_of(sample)
        if all_ in self.whole:
            self.duplicates.append((sample.where, self.whole[all_]))
        self.whole.setdefault(all_, sample.where)
        self.trained += 1
        self.tokens += len(sample.ids)
        self.learned += sum(sample.learned)
        self._keep(sample, validation=False)

    def _validate(self, sample: Sample) -> None:
        self.validated += 1
        self._keep(sample, validation=True)

    def _keep(self, sample: Sample, *, validation: bool) -> None:
        self.longest = max(self.longest, len(sample.ids))
        if len(self.shown) < self.request.shown:
            self.shown.append(
                Seen(
                    where=sample.where,
                    validation=validation,
                    tokens=len(sample.ids),
                    learned=sum(sample.learned),
                    pieces=tuple(pieces(self.tokenizer, sample.ids[:PIECES], sample.learned)),
                    cut=len(sample.ids) > PIECES,
                )
            )


class _Refused(list):
    """Takes refused rows, keeps the first ones and counts all: a large file may hold nothing else."""

    number = 0

    def append(self, one: talks.Refused) -> None:
        self.number += 1
        if len(self) < LISTED:
            super().append(one)


def pieces(tokenizer: Any, ids: list[int], learned: list[bool]) -> Iterator[tuple[str, bool]]:
    """(text, learned) of each token; those that only together make a character are one piece.

    Decoded beside the token before: alone, a word's first token would lose the space in front of it.
    """

    def said(tokens: list[int]) -> str:
        return tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    before: list[int] = []
    held: list[int] = []
    for place, token in enumerate(ids):
        held.append(token)
        text = said([*before, *held])[len(said(before)) if before else 0 :]
        last = place + 1 == len(ids) or learned[place + 1] != learned[place]
        if text.endswith(UNFINISHED) and len(held) < LONGEST_CHARACTER and not last:
            continue
        yield text, learned[place]
        before, held = held, []


if __name__ == "__main__":
    os.environ.update(models.OFFLINE)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())
