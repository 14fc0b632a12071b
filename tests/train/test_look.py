"""What the look at training rows says is what the training does with them: both place rows by the same code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.launchers import look as looks
from core.launchers.finetune import FinetuneRequest
from tests.train.conftest import rows, written
from train import look, prepare


@pytest.mark.parametrize("settings", [{}, {"share": 0.5}, {"validation_share": 0.3}], ids=str)
def test_the_counts_are_the_trainings(
    settings: dict[str, Any], request_for: Callable[..., FinetuneRequest], tmp_path: Path, tokenizer: Any
) -> None:
    told = rows(80)
    data = written(tmp_path / "r.jsonl", [*told, told[0], {**told[1], "output": ""}])
    request = request_for(data=(data,), **settings)
    account = prepare.stores(request, tokenizer, "raw", tmp_path / "stores")[2]
    seen = look.look(looks.of(request).model_copy(update={"prompt_form": "raw"}), Path(request.base))
    assert (seen.trained, seen.validated, seen.tokens, seen.learned) == (
        account.trained,
        account.validated,
        account.tokens,
        account.learned,
    )
    assert (seen.refused_rows, seen.duplicate_rows, seen.rows) == (account.refused, account.doubles, 82)


def test_a_leak_names_the_row_it_repeats(
    request_for: Callable[..., FinetuneRequest], tmp_path: Path, tokenizer: Any
) -> None:
    told = rows(20)
    data = written(tmp_path / "r.jsonl", told)
    held = written(tmp_path / "v.jsonl", [told[3], *rows(23)[20:]])
    seen = look.look(looks.of(request_for(data=(data,), validation=(held,))), Path(request_for().base))
    assert seen.leaks == (("v.jsonl:1", "r.jsonl:4"),) and seen.validated == 3
