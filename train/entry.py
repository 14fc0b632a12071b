"""How a training's process begins and ends: its settings from a file, and a UserError as a line for who started it."""

from __future__ import annotations

import argparse
import errno
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from core import models
from core.errors import UserError
from core.launchers.contract import USER_ERROR
from core.launchers.request import Learning

R = TypeVar("R", bound=Learning)


def run(kind: type[R], train: Callable[..., None], about: str | None) -> int:
    """`train(request, deepspeed=FILE or None)` as the command line names them; the process's exit code."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--request", type=Path, required=True)
    parser.add_argument("--deepspeed-config", type=Path)
    given, _ = parser.parse_known_args()
    request = kind.model_validate_json(given.request.read_text(encoding="utf-8"))
    try:
        with room(request.out):
            train(request, deepspeed=given.deepspeed_config)
    except UserError as error:
        print(f"{USER_ERROR}{json.dumps(error.to_dict(), ensure_ascii=False)}", file=sys.stderr, flush=True)
        return 1
    return 0


def quiet() -> None:
    """Nothing asks a hub, advises what to install, or draws bars into a log."""
    os.environ.update(models.OFFLINE)
    # bitsandbytes, which PEFT imports where it is installed, advises to install what would fetch code from a hub
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # DeepSpeed still calls these by their old names, in every pass
    warnings.filterwarnings("ignore", r".*torch\.distributed\..* is deprecated", FutureWarning)
    from transformers.utils import logging as library

    library.disable_progress_bar()


@contextmanager
def room(out: Path) -> Iterator[None]:
    """A disk that fills up anywhere else than at a checkpoint (checkpoints.room_for)."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            "The disk of {out} is full.", remedy="Make room on it, and go on from the last checkpoint.", out=out
        ) from error


def say(settings: Any, line: str) -> None:
    """Once, whatever the number of ranks."""
    if settings.process_index == 0:
        print(line, flush=True)
