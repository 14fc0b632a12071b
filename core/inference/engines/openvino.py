"""OpenVINO inside a process of ours (openvino-genai): GGUF files on a processor, many answers at once.

Numbers are computed so that an answer doesn't depend on what else is being answered; what prompts
begin with is computed once for all of them.
"""

from __future__ import annotations

import platform
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from core import models, resources
from core.errors import UserError
from core.inference.engine import (
    Capabilities,
    Generation,
    Loaded,
    Options,
    Piece,
    refuse_impossible,
)
from core.inference.gguf_header import Shape, read_shape
from core.inference.openvino_answer import Answer
from core.inference.openvino_child import PROBE
from core.inference.openvino_link import Gone, Link
from core.inference.openvino_schedule import BLOCK
from core.inference.prompting import asked_ids
from core.inference.pump import Put, Stopped, pump
from core.models import Model
from core.operation import Needs

CONTEXT = 8192
"""Tokens a sequence, unless the model was trained on fewer."""
PARALLEL = 64
TYPICAL = 512
"""Tokens of prompt and answer that each of the parallel sequences has room for; one may take the whole context."""
OVERHEAD = 2.0
"""Memory of the weights while they are read and compiled, over the file's size."""
FIXED = 600_000_000
"""Bytes of the libraries in both processes."""
CACHE_SHARE = 0.6
"""The cache holds 8-bit numbers with their scales; a shape's are 16-bit."""
BATCH, SMALL = 256, 300_000_000
"""Tokens a step of models up to SMALL bytes, about 0.2 s on two cores; of larger ones fewer, so that stopping works."""
TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|end|>", "<|endoftext|>", "<end_of_turn>", "<turn|>", "</s>")
"""Tokens that end a turn in some chat template, whatever else a file declares."""


@dataclass(frozen=True)
class Plan:
    """Tokens a sequence, sequences at once, blocks of the cache, tokens a step."""

    context: int
    parallel: int
    blocks: int
    batch: int


class Engine:
    title: ClassVar[str] = "OpenVINO"
    why: ClassVar[str] = "OpenVINO answers many texts at once on a processor, and keeps answers to a grammar."
    preference: ClassVar[int] = 15
    batch_preference: ClassVar[int] = 5 if platform.machine() in ("x86_64", "AMD64") else 15  # measured on those
    can = Capabilities(formats=("gguf",), grammar=True)

    def __init__(self) -> None:
        self._link: Link | None = None
        self._tokenizer: Any = None
        self._grammar_tokenizer: Any = None
        self._making = threading.Lock()
        self._ends: frozenset[int] = frozenset()
        self._context = 0

    @property
    def pid(self) -> int:
        """The process that computes."""
        return self._link.pid if self._link is not None else 0

    def load(self, model: Model, options: Options) -> Loaded:
        if model.path is None:
            raise TypeError("a GGUF model has a file")
        if options.device not in ("", "cpu"):
            raise UserError(
                "OpenVINO computes on the processor here, not on {device}.",
                remedy="Leave the device out, or load the model with the engine llamacpp.",
                device=options.device,
            )
        made = plan(model.size, read_shape(model.path), options, resources.ram()[1])
        threads = options.threads or resources.cores()
        given = {"path": str(model.path), "threads": threads, "parallel": made.parallel}
        self._link = Link({**given, "blocks": made.blocks, "batch": made.batch})
        self._link.begin()
        try:
            near = _tokenizer_beside(model)
            told = self._link.ready()
            if near is not None and near(PROBE, add_special_tokens=False)["input_ids"] == told["probe"]:
                self._tokenizer = near
            else:
                self._tokenizer = _tokenizer_within(model)
        except Gone as error:
            raise _cannot_load(model, str(error)) from error
        except BaseException:
            self.unload()
            raise
        added = self._tokenizer.added_tokens_decoder.items()
        ends = {
            *told["ends"],
            self._tokenizer.eos_token_id,
            *(number for number, one in added if str(one) in TURN_ENDS),
        }
        self._ends = frozenset(end for end in ends if end is not None)
        self._context = made.context
        return Loaded(made.context, made.parallel)

    def generate(self, request: Generation, stop: threading.Event) -> Iterator[Piece]:
        refuse_impossible(self.title, self.can, request)
        seed = request.decoding.seed if request.decoding.seed is not None else secrets.randbelow(2**31)

        def work(put: Put, stopped: Stopped) -> None:
            if self._link is None:
                raise RuntimeError("no model is loaded")
            prompt = asked_ids(self._tokenizer, request, self._context)
            answer = Answer(self._link, self._tokenizer, self._ends, prompt, put)
            answer.run(request, seed, self._context - len(prompt), self._follower(request), stopped)

        yield from pump(work, stop)

    def count(self, text: str) -> int:
        return len(self._tokenizer(text)["input_ids"])

    def unload(self) -> None:
        if self._link is not None:
            self._link.close()
        self._link = self._tokenizer = self._grammar_tokenizer = None

    def _follower(self, request: Generation) -> Any:
        """Follows the answer through its grammar; raises UserError where that is broken. None without one."""
        if request.grammar is None:
            return None
        from core.inference.grammar import grammar_tokenizer
        from core.inference.openvino_grammar import Follower

        with self._making:
            if self._grammar_tokenizer is None:
                self._grammar_tokenizer = grammar_tokenizer(self._tokenizer, 0)
        return Follower(self._grammar_tokenizer, request.grammar)


_MEANINGS = {
    "map::at": "it lacks entries that OpenVINO needs",
    "gpt2": "its tokenizer is of the SentencePiece kind, which OpenVINO doesn't read from GGUF files",
}
"""What some of the library's errors mean."""


def plan(size: int, shape: Shape, options: Options, free: int) -> Plan:
    """The usual numbers for weights of `size` bytes, lower ones where memory is short.

    Raises UserError if not even one short sequence fits.
    """
    context = options.context or min(CONTEXT, shape.context or CONTEXT)
    parallel = options.parallel or PARALLEL
    token = shape.kv_bytes * CACHE_SHARE
    weights = int(size * OVERHEAD) + FIXED
    while not options.parallel and parallel > 1 and token * _room(context, parallel) > (free - weights) / 2:
        parallel //= 2
    while not options.context and context > 1024 and token * _room(context, parallel) > free - weights:
        context //= 2
    for shortage in resources.shortages(Needs(ram=weights + int(token * _room(context, parallel)))):
        raise shortage
    batch = max(32, min(BATCH, int(BATCH * SMALL / max(size, 1))))
    return Plan(context, parallel, _room(context, parallel) // BLOCK, batch)


def _room(context: int, parallel: int) -> int:
    """Tokens of the cache."""
    return max(context + BLOCK, parallel * TYPICAL)


def _tokenizer_beside(model: Model) -> Any:
    """The tokenizer of the Hugging Face folder that stands beside the file, which is read in no time; or None."""
    folder = models.weights_folder(model)
    if folder is None or not (folder / "tokenizer.json").is_file():
        return None
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception:  # noqa: BLE001 - the file itself has one
        return None


def _tokenizer_within(model: Model) -> Any:
    from transformers import AutoTokenizer

    if model.path is None:
        raise TypeError("a GGUF model has a file")
    try:
        return AutoTokenizer.from_pretrained(
            model.path.parent, gguf_file=model.path.name, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        raise _cannot_load(model, str(error).strip().splitlines()[0] if str(error).strip() else "?") from error


def _cannot_load(model: Model, why: str) -> UserError:
    why = next((meaning for said, meaning in _MEANINGS.items() if said in why), why)
    return UserError(
        "OpenVINO can't load {path}: {why}",
        remedy="The file may be cut short, broken or of a kind it doesn't know: "
        "download it again, or load it with the engine llamacpp.",
        path=model.path,
        why=why,
    )
