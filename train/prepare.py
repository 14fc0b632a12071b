"""From files to the samples that are trained on and those that are kept for validation, each in a store on disk.

A row's prompt, or its sentence where it makes several samples, decides on which side it falls: what was trained on
is never validated with.
The stores are kept beside a record of what they were made from, and made again when that differs.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from core.errors import UserError
from core.extract import schema as schemas
from core.inference.prompting import Form
from core.launchers.finetune import FinetuneRequest
from train import samples, talks
from train.samples import Sample, Store, Writer

SHOWN = 20  # refused rows that are told one by one


@dataclass
class Account:
    """What became of the rows."""

    rows: int = 0
    trained: int = 0
    validated: int = 0
    doubles: int = 0
    """Training samples that are word for word another one's."""
    spared: int = 0
    """Rows left out, since only a share of them was asked for."""
    leaks: int = 0
    """Validation rows left out because their prompt is trained on."""
    refused: int = 0
    tokens: int = 0
    learned: int = 0
    reasons: list[dict[str, Any]] = field(default_factory=list)
    """The first refused rows: `where` (file and line) and `why`, a UserError's `to_dict()`."""


def stores(request: FinetuneRequest, tokenizer: Any, form: Form, folder: Path) -> tuple[Store, Store | None, Account]:
    """The training store, the validation store (None: nothing is kept for it) and the account."""
    made_from = _fingerprint(request, tokenizer, form)
    record = folder / "account.json"
    if record.is_file() and json.loads(record.read_text(encoding="utf-8")).get("made_from") == made_from:
        told = json.loads(record.read_text(encoding="utf-8"))
        account = Account(**{name: value for name, value in told.items() if name != "made_from"})
    else:
        shutil.rmtree(folder, ignore_errors=True)
        account = _make(request, tokenizer, form, folder)
        temporary = record.with_suffix(".tmp")
        temporary.write_text(json.dumps({"made_from": made_from, **account.__dict__}), encoding="utf-8")
        temporary.replace(record)
    validation = samples.opened(folder / "validation") if account.validated else None
    return samples.opened(folder / "train"), validation, account


def read(request: FinetuneRequest, tokenizer: Any, form: Form, data: Iterable[Path], refused: list) -> Iterator[Sample]:
    """The samples of files, as the request says they are read."""
    schema = schemas.load(request.schema_file) if request.schema_file else None
    fields = dict(pair.split("=", 1) for pair in request.fields)
    for path in talks.files(data):
        rows = talks.read(path, request.format, fields=fields, schema=schema)
        yield from samples.encoded(
            tokenizer, rows, form, limit=request.max_length, learn_prompt=request.train_on_prompt, refused=refused
        )


Part = Literal["train", "validation", "spared", "leak"]


@dataclass(frozen=True, slots=True)
class Placed:
    """A sample and the side it falls on. `spared`: only a share of the rows was asked for; `leak`: a validation
    row whose prompt is trained on. `prompt`: digest of what decides."""

    sample: Sample
    part: Part
    prompt: bytes


Samples = Iterator[Sample]


def placed(
    request: FinetuneRequest,
    tokenizer: Any,
    form: Form,
    refused: list,
    cut: Callable[[Samples], Samples] = lambda samples: samples,
) -> Iterator[Placed]:
    """Every sample of the request's files; `cut` may end the reading of the data, and that of the validation, early."""
    prompts = array("Q")
    kept = 0.0 if request.validation else request.validation_share
    for sample in cut(read(request, tokenizer, form, request.data, refused)):
        prompt = _digest(_asked(sample))
        place = _share(prompt, request.seed)
        if place < kept:
            yield Placed(sample, "validation", prompt)
            continue
        prompts.append(_short(prompt))  # also of rows that are left out: all shares are validated with the same
        yield Placed(sample, "train" if place < kept + (1 - kept) * request.share else "spared", prompt)
    if request.validation:
        trained_on = np.sort(np.frombuffer(prompts, np.uint64))
        for sample in cut(read(request, tokenizer, form, request.validation, refused)):
            prompt = _digest(_asked(sample))
            yield Placed(sample, "leak" if _holds(trained_on, _short(prompt)) else "validation", prompt)


def _make(request: FinetuneRequest, tokenizer: Any, form: Form, folder: Path) -> Account:
    account = Account()
    refused = Reasons()
    whole = array("Q")
    with Writer(folder / "train") as train, Writer(folder / "validation") as validation:
        for one in placed(request, tokenizer, form, refused):
            account.rows += 1
            if one.part == "train":
                whole.append(_short(digest_of(one.sample)))
                account.tokens += len(one.sample.ids)
                account.learned += sum(one.sample.learned)
                train.add(one.sample)
            elif one.part == "validation":
                validation.add(one.sample)
            elif one.part == "spared":
                account.spared += 1
            else:
                account.leaks += 1
        account.trained, account.validated = len(train), len(validation)
    account.doubles = len(whole) - len(np.unique(np.frombuffer(whole, np.uint64)))
    account.refused, account.reasons = refused.number, refused.told
    if not account.trained:
        raise UserError(
            "No row is left to train on: {why}",
            remedy="Correct the rows, or say how they are to be read: their format and fields.",
            why=" ".join(told(account)[:3]) or f"all {account.validated} are kept for validation.",
        )
    return account


def told(account: Account) -> list[str]:
    """Why rows were refused, a line each."""
    said = [(one["where"], str(UserError.from_dict(one["why"]))) for one in account.reasons]
    return [why if where in why else f"{where}: {why}" for where, why in said]


def digest_of(sample: Sample) -> bytes:
    """Of all its tokens: samples that are word for word the same have the same."""
    return _digest(sample.ids)


class Reasons(list):
    """Takes refused rows, keeps the first ones' reasons and counts the others: a large file may hold nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.told: list[dict[str, Any]] = []

    def append(self, one: talks.Refused) -> None:
        self.number += 1
        if len(self.told) < SHOWN:
            self.told.append({"where": one.where, "why": one.why.to_dict()})


def _short(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "little")


def _holds(known: np.ndarray, number: int) -> bool:
    at = int(np.searchsorted(known, np.uint64(number)))
    return at < len(known) and int(known[at]) == number


def _asked(sample: Sample) -> list[int]:
    """What decides on which side a sample falls: the sentence that several are about, else its prompt."""
    if sample.sentence:
        return [ord(char) for char in sample.sentence]
    return sample.ids[: sample.learned.index(True)] or sample.ids


def _digest(ids: list[int]) -> bytes:
    return hashlib.blake2b(np.asarray(ids, np.int32).tobytes(), digest_size=16).digest()


def _share(digest: bytes, seed: int) -> float:
    """A number in [0, 1) that only the prompt and the seed decide."""
    mixed = hashlib.blake2b(digest, key=seed.to_bytes(8, "little"), digest_size=8).digest()
    return int.from_bytes(mixed, "little") / 2**64


def _fingerprint(request: FinetuneRequest, tokenizer: Any, form: Form) -> str:
    told: list[Any] = [form, request.format, request.fields, request.max_length, request.train_on_prompt]
    told += [request.validation_share, request.share, request.seed]
    told += [len(tokenizer), tokenizer.chat_template, tokenizer.name_or_path]
    for path in [*talks.files(request.data), *(talks.files(request.validation) if request.validation else ())]:
        state = path.stat()
        told.append((str(path.resolve()), state.st_size, state.st_mtime_ns))
    if request.schema_file:
        told.append(Path(request.schema_file).read_text(encoding="utf-8"))
    return hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()


def form_of(request: FinetuneRequest, declared: str | None, tokenizer: Any) -> Form:
    """The form the model will be asked in: what was chosen, what its card declares, what the data are made for."""
    if request.prompt_form != "auto":
        return request.prompt_form
    if declared == "raw":
        return "raw"
    fields = dict(pair.split("=", 1) for pair in request.fields)
    formats = {
        talks.format_of(path, fields=fields) if request.format == "auto" else request.format
        for path in talks.files(request.data)
    }
    return "raw" if formats == {"prompts"} else "chat"
