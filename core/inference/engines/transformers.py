"""Hugging Face transformers on torch: the reference engine. Folders as they are published, beams, any device torch has.

One answer at a time: torch's random numbers are shared by the whole process. The base stays while adapters of it
come and go; each answer is given by the one that its request names.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from core import models, resources
from core.errors import UserError
from core.inference import devices, hf_weights
from core.inference.adapters import Adapters
from core.inference.engine import (
    Capabilities,
    Fact,
    Finish,
    Generation,
    Loaded,
    Options,
    Piece,
    refuse_impossible,
)
from core.inference.prompting import asked_ids
from core.inference.pump import Put, Stopped, pump
from core.inference.text import Characters, StopAt
from core.models import Model
from core.operation import Needs

OVERHEAD = 1.2
GGUF_GROWTH = 3
"""The weights stay quantized, but are held twice while they are read."""


class _Stopped(Exception):
    pass


class Engine:
    title: str = "transformers"
    why: ClassVar[str] = "transformers reads Hugging Face folders as they are, and can follow several beams."
    preference: ClassVar[int] = 20
    batch_preference: ClassVar[int] = 20
    can = Capabilities(
        formats=("huggingface", "adapter", "gguf"),
        devices=("cpu", "cuda"),
        grammar=True,
        lora=True,
        beams=True,
        adapters=True,
        bits=(8, 4),
        spreads=True,
    )

    def __init__(self) -> None:
        self._model: Any = None
        self._adapters: Adapters | None = None
        self._tokenizer: Any = None
        self._grammar_tokenizer: Any = None
        self._context = 0
        self._loaded = Loaded(0, 1)
        self._turn = threading.Lock()
        self._stopped: Stopped = lambda: False

    def load(self, model: Model, options: Options) -> Loaded:
        import torch

        weights = hf_weights.of(model)
        wide = hf_weights.dtype_of(weights) == "float32"
        held = devices.shrunk(models.size_of(weights), options.bits, wide=wide) if weights else model.size
        need = int(held * (OVERHEAD if weights else GGUF_GROWTH) + (model.size if model.format == "adapter" else 0))
        cards = hf_weights.cards()
        # bitsandbytes keeps no part of a model in RAM beside a GPU
        ram = 0 if cards and (options.bits or hf_weights.quantized(weights)) else resources.ram()[1]
        placed = devices.place(need, cards, ram, device=options.device, memory=options.memory)
        for shortage in resources.shortages(Needs(ram=need)) if placed.device == "cpu" else ():
            raise shortage
        torch.set_num_threads(options.threads or resources.cores())
        self._read(model, weights, placed, options)
        trained = int(getattr(self._model.config, "max_position_embeddings", 0) or 2048)
        self._context = min(options.context or trained, trained)
        self._watch_layers()
        facts = (placed.fact, *hf_weights.bits_told(options.bits, self._model, weights))
        self._loaded = Loaded(self._context, 1, hf_weights.device_told(self._model), facts)
        self._adapters = Adapters(self._model, placed.limits)
        # a base that accelerate moves between devices as it computes takes one adapter, when that is loaded with it
        keeps = model.format != "gguf" and not hf_weights.is_offloaded(self._model)
        self.can = replace(type(self).can, adapters=keeps)
        return self.adapt(model)

    def adapt(self, model: Model) -> Loaded:
        """Answer as this adapter of the loaded base, or as the base, from now on. Waits for the answer under way."""
        if self._adapters is None:
            raise RuntimeError("no model is loaded")
        with self._turn:
            try:
                self._adapters.add(model)
            except Exception as error:  # the library lets through what any file format's reader raises
                raise _unreadable(model, error) from error
            self.can = replace(self.can, lora=model.format == "adapter")
        if model.format != "adapter":
            return self._loaded
        why = "The adapter {adapter} is on the base {base}."
        if self.can.adapters:
            why = "The adapter {adapter} is on the base {base}, which stays in memory when another takes its place."
        fact = Fact(why, {"adapter": model.title, "base": models.base_weights(model).name})
        return replace(self._loaded, facts=(*self._loaded.facts, fact))

    def generate(self, request: Generation, stop: threading.Event) -> Iterator[Piece]:
        there = self._adapters is not None and self._adapters.any
        refuse_impossible(self.title, replace(self.can, lora=there), request)
        seed = request.decoding.seed if request.decoding.seed is not None else secrets.randbelow(2**31)

        def work(put: Put, stopped: Stopped) -> None:
            with self._turn:
                self._stopped = stopped
                if self._adapters is None:
                    raise RuntimeError("no model is loaded")
                prompt, grammar = asked_ids(self._tokenizer, request, self._context), self._grammar(request)
                with self._adapters.answering(request.model, tuned=request.adapter) as model, _memory_may_end():
                    answer = _Answer(model, self._tokenizer, request, seed)
                    answer.run(prompt, self._context - len(prompt), grammar, put)

        yield from pump(work, stop)

    def count(self, text: str) -> int:
        return len(self._tokenizer(text)["input_ids"])

    def unload(self) -> None:
        self._model = self._adapters = self._tokenizer = self._grammar_tokenizer = None

    def _read(self, model: Model, weights: Path | None, placed: devices.Placement, options: Options) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        if model.path is None:
            raise TypeError("a model of this engine has files")
        gguf = {"gguf_file": model.path.name} if weights is None else {}
        folder = weights or model.path.parent
        common: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False, **gguf}
        packed = bool(options.bits) or hf_weights.quantized(weights)
        how = hf_weights.how_to_place(placed, packed=packed)
        how |= hf_weights.how_to_shrink(options.bits, weights)
        # half precision on a processor is slow, and some operations lack it
        on_cpu = placed.device == "cpu" or "cpu" in placed.limits
        dtype: Any = torch.bfloat16 if on_cpu and hf_weights.dtype_of(weights) == "float16" else "auto"
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, **common)
            self._model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32 if gguf else dtype, low_cpu_mem_usage=True, **common, **how
            )
            if not how and placed.device == "cpu" and self._model.dtype == torch.float16:
                self._model.to(torch.bfloat16)
            self._model.eval()
        except Exception as error:  # the library lets through what any file format's reader raises
            raise _unreadable(model, error) from error

    def _watch_layers(self) -> None:
        """Let a stop take effect in the middle of a long prompt: looked for before each layer."""
        import torch

        def look(*_: Any) -> None:
            if self._stopped():
                raise _Stopped

        for part in self._model.modules():
            if isinstance(part, torch.nn.ModuleList):
                for layer in part:
                    layer.register_forward_pre_hook(look)

    def _grammar(self, request: Generation) -> Any:
        """A logits processor that allows only what the grammar does, or None."""
        if request.grammar is None:
            return None
        if request.decoding.beams > 1:
            raise UserError("A grammar can't be kept over several beams.", remedy="Set beams to 1.")
        from core.inference.grammar import Constraint, grammar_tokenizer

        if self._grammar_tokenizer is None:
            self._grammar_tokenizer = grammar_tokenizer(self._tokenizer, self._model.config.vocab_size)
        return Constraint(self._grammar_tokenizer, request.grammar)


def _unreadable(model: Model, error: Exception) -> UserError:
    if isinstance(error, UserError):
        return error
    return UserError(
        "transformers can't load {path}: {why}",
        remedy="The files may be incomplete or of a kind it doesn't know: "
        "download them again, or choose another model.",
        path=model.path,
        why=str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__,
    )


@contextlib.contextmanager
def _memory_may_end() -> Iterator[None]:
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        raise UserError(
            "The GPU's memory ran out in the middle of an answer.",
            remedy="Shorten the text, or load the model in fewer bits, with a smaller context or over more devices.",
        ) from error


class _Answer:
    """One run of `generate`: streams pieces, or gives the text whole where beams are followed."""

    def __init__(self, model: Any, tokenizer: Any, request: Generation, seed: int) -> None:
        self._model, self._tokenizer, self._request, self._seed = model, tokenizer, request, seed
        self._stop = StopAt(request.stop)
        self._made = 0

    def run(self, prompt: list[int], room: int, grammar: Any, put: Put) -> None:
        import torch
        from transformers import LogitsProcessorList, StoppingCriteriaList

        decoding = self._request.decoding
        torch.manual_seed(self._seed)
        characters = Characters(self._decode, prompt)

        def streamed(ids: Any, _scores: Any) -> Any:
            """Called after each token: take the newest, and say whether to end."""
            if decoding.beams == 1:
                self._take(int(ids[0, -1]), characters, put)
            return torch.full((ids.shape[0],), self._stop.stopped, device=ids.device, dtype=torch.bool)

        inputs = torch.tensor([prompt], device=self._model.device)
        ended = False
        try:
            with torch.inference_mode():
                output = self._model.generate(
                    inputs,
                    attention_mask=torch.ones_like(inputs),
                    max_new_tokens=min(decoding.max_tokens, room),
                    pad_token_id=self._pad(),
                    stopping_criteria=StoppingCriteriaList([streamed]),
                    logits_processor=LogitsProcessorList([grammar] if grammar else []),
                    **_settings(self._request),
                )
            ended = True
        except _Stopped:
            pass
        if not ended:
            put(Piece(finish="cancelled", prompt_tokens=len(prompt), tokens=self._made, seed=self._seed))
            return
        made = output[0, len(prompt) :].tolist()
        text = self._stop.rest() if decoding.beams == 1 else self._whole(made, characters)
        finish: Finish = "stop" if self._stop.stopped or (made[-1:] and made[-1] in self._ends()) else "length"
        put(Piece(text, finish, len(prompt), len(made), self._seed))

    def _take(self, token: int, characters: Characters, put: Put) -> None:
        self._made += 1
        if token not in self._ends():
            text = self._stop.put(characters.put(token))
            if text:
                put(Piece(text))

    def _whole(self, made: list[int], characters: Characters) -> str:
        ends = self._ends()
        text = "".join(characters.put(token) for token in made if token not in ends)
        return self._stop.put(text) + self._stop.rest()

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _ends(self) -> set[int]:
        ends = self._model.generation_config.eos_token_id
        ends = [ends] if isinstance(ends, int) else list(ends or [])
        return {*ends, self._tokenizer.eos_token_id}

    def _pad(self) -> int:
        known = (self._tokenizer.pad_token_id, self._tokenizer.eos_token_id)
        return next((token for token in known if token is not None), 0)


def _settings(request: Generation) -> dict[str, Any]:
    decoding = request.decoding
    sampled: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    if decoding.temperature > 0:
        sampled = {
            "do_sample": True,
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "top_k": decoding.top_k,
        }
    return sampled | {"num_beams": decoding.beams, "repetition_penalty": decoding.repetition_penalty}
