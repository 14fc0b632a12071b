"""llama.cpp inside this process (xllamacpp): GGUF files on any machine, grammars, several answers at once.

The library insists on a server of its own. It listens on a Unix socket in a folder only we can enter
(on Windows on a loopback port) and asks for a random key, so that nobody goes round the host.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import httpx
import psutil

from core import paths, resources
from core.errors import UserError
from core.inference.engine import (
    Capabilities,
    Finish,
    Generation,
    Loaded,
    Options,
    Piece,
    refuse_impossible,
    too_long,
)
from core.inference.gguf_header import Shape, read_shape
from core.inference.pump import Put, Stopped, pump
from core.inference.text import BROKEN
from core.models import Model
from core.operation import Needs

CONTEXT = 4096
"""Tokens a sequence, unless the model was trained on fewer."""
PARALLEL = 4
OVERHEAD = 1.15
"""Memory of the weights and the compute buffers, over the file's size."""
BATCH = 64
"""Prompt tokens read between two looks at whether to stop: about 0.2 s of a small model on two cores."""
PREFIX_CACHE_MIB = 256
SOCKET = "engine.sock"
LONGEST_SOCKET = 100
"""Bytes that every system takes as a socket's path."""
LOOK_SECONDS = 0.3
"""How long to watch what else the processors do."""


class Engine:
    title: ClassVar[str] = "llama.cpp"
    why: ClassVar[str] = "llama.cpp is the fastest here with GGUF files, and keeps answers to a grammar."
    preference: ClassVar[int] = 10
    batch_preference: ClassVar[int] = 10
    can = Capabilities(formats=("gguf",), grammar=True)

    def __init__(self) -> None:
        self._server: Any = None
        self._door: httpx.Client | None = None
        self._folder: Path | None = None
        self._context = 0
        self.address = ""

    def load(self, model: Model, options: Options) -> Loaded:
        if model.path is None:
            raise TypeError("a GGUF model has a file")
        shape = read_shape(model.path)
        context, parallel = plan(model.size, shape, options, resources.ram()[1])
        key = secrets.token_urlsafe(32)
        self._server = self._start(model, context, parallel, options, key)
        self.address = self._server.listening_address
        self._door = _door(self.address, key)
        props = self._door.get("/props").json()
        self._context = int(props["default_generation_settings"]["n_ctx"])
        return Loaded(self._context, int(props["total_slots"]), _device())

    def generate(self, request: Generation, stop: threading.Event) -> Iterator[Piece]:
        refuse_impossible(self.title, self.can, request)
        seed = request.decoding.seed if request.decoding.seed is not None else secrets.randbelow(2**31)

        def work(put: Put, stopped: Stopped) -> None:
            heard = _Listener(put, stopped, seed, keep_broken=_quotes_broken(request))
            ask = self._server.handle_chat_completions if request.messages else self._server.handle_completions
            heard.finish(ask(_body(request, seed, self._context), heard))

        yield from pump(work, stop)

    def count(self, text: str) -> int:
        if self._door is None:
            raise RuntimeError("no model is loaded")
        return len(self._door.post("/tokenize", json={"content": text, "add_special": True}).json()["tokens"])

    def unload(self) -> None:
        self._server = None
        if self._door is not None:
            self._door.close()
        if self.address.startswith("unix://"):
            Path(self.address.removeprefix("unix://")).unlink(missing_ok=True)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, model: Model, context: int, parallel: int, options: Options, key: str) -> Any:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(model.path)
        params.n_ctx, params.n_parallel = context * parallel, parallel
        params.n_batch = params.n_ubatch = max(BATCH, parallel)
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads or free_cores()
        params.api_keys, params.port = [key], 0
        params.ui = params.endpoint_slots = params.warmup = False
        params.cache_ram_mib = PREFIX_CACHE_MIB
        params.reasoning_format = xllamacpp.common_reasoning_format.COMMON_REASONING_FORMAT_NONE
        params.verbosity = 1
        if options.device == "cpu":
            params.n_gpu_layers = 0
        if os.name != "nt":
            params.hostnames = [str(self._socket())]
        try:
            return xllamacpp.Server(params)
        except (RuntimeError, ValueError, MemoryError) as error:
            self.unload()
            raise UserError(
                "llama.cpp can't load {path}: {why}",
                remedy="The file may be cut short, broken or of a kind it doesn't know: "
                "download it again, or choose another one.",
                path=model.path,
                why=error,
            ) from error

    def _socket(self) -> Path:
        """A place for the library's socket that only we can enter, and that a killed host leaves no litter at."""
        place = paths.host() / SOCKET
        if len(os.fsencode(place)) > LONGEST_SOCKET:
            self._folder = Path(tempfile.mkdtemp(prefix="knowlm-"))
            place = self._folder / SOCKET
        place.unlink(missing_ok=True)
        return place


class _Listener:
    """Turns the library's chunks into pieces; answers True to stop. The library swallows what is raised here."""

    def __init__(self, put: Put, stopped: Stopped, seed: int, *, keep_broken: bool) -> None:
        self._put, self._stopped, self._seed = put, stopped, seed
        self._drop = "" if keep_broken else BROKEN
        self._tokens = 0
        self._ended = False
        self._error: dict | None = None

    def __call__(self, chunk: Any) -> bool:
        for part in chunk if isinstance(chunk, list) else [chunk]:
            self._take(part)
        return self._stopped()

    def finish(self, answer: Any) -> None:
        """Raise what the library refused, or say that it was stopped."""
        error = answer.get("error", self._error) if isinstance(answer, dict) else self._error
        if error is not None:
            raise _refusal(error)
        if not self._ended:
            self._put(Piece(finish="cancelled", tokens=self._tokens, seed=self._seed))

    def _take(self, part: dict) -> None:
        self._error = part.get("error", self._error)
        choice = (part.get("choices") or [{}])[0]
        text = choice.get("text") or (choice.get("delta") or {}).get("content") or ""
        text = text.replace(self._drop, "") if self._drop else text
        self._tokens += bool(text)
        if choice.get("finish_reason") is None or self._ended:
            self._put(Piece(text))
            return
        self._ended = True
        timings = part.get("timings") or {}
        finish: Finish = "length" if choice["finish_reason"] == "length" else "stop"
        prompt = int(timings.get("prompt_n", 0) + timings.get("cache_n", 0))
        self._put(Piece(text, finish, prompt, int(timings.get("predicted_n", self._tokens)), self._seed))


def plan(size: int, shape: Shape, options: Options, free: int) -> tuple[int, int]:
    """(tokens a sequence, sequences) for weights of `size` bytes: the usual ones, fewer where memory is short.

    Raises UserError if not even one short sequence fits.
    """
    context = options.context or min(CONTEXT, shape.context or CONTEXT)
    parallel = options.parallel or PARALLEL
    spare = free - int(size * OVERHEAD)
    while not options.parallel and parallel > 1 and shape.kv_bytes * context * parallel > spare / 2:
        parallel //= 2
    while not options.context and context > 1024 and shape.kv_bytes * context * parallel > spare:
        context //= 2
    need = int(size * OVERHEAD) + shape.kv_bytes * context * parallel
    for shortage in resources.shortages(Needs(ram=need)):
        raise shortage
    return context, parallel


def _body(request: Generation, seed: int, context: int) -> dict[str, Any]:
    decoding = request.decoding
    body: dict[str, Any] = {
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "top_k": decoding.top_k,
        "min_p": 0.0,
        "repeat_penalty": decoding.repetition_penalty,
        "repeat_last_n": context,  # the whole text, as transformers counts it
        "max_tokens": decoding.max_tokens,
        "seed": seed,
        "stop": list(request.stop),
        "stream": True,
        "return_progress": True,  # a chunk a batch of the prompt, so that stopping works there too
        "cache_prompt": True,
    }
    if request.grammar is not None:
        body["grammar"] = request.grammar
    return body | ({"messages": list(request.messages)} if request.messages else {"prompt": request.prompt})


def free_cores() -> int:
    """Cores that nothing else uses now, at least one.

    llama.cpp's threads wait for each other by spinning: with one thread more than there are free cores it is
    ten times slower, not a little.
    """
    cores = resources.cores()
    used = psutil.cpu_percent(LOOK_SECONDS) / 100 * (psutil.cpu_count() or cores)
    return max(1, cores - int(used + 0.5))


def _quotes_broken(request: Generation) -> bool:
    """Whether U+FFFD may be meant: elsewhere it stands for bytes of the model that are no character."""
    texts = (request.prompt or "", request.grammar or "", *(message["content"] for message in request.messages))
    return any(BROKEN in text for text in texts)


def _refusal(error: dict) -> UserError:
    why = str(error.get("message", error))
    if error.get("type") == "exceed_context_size_error":
        return too_long(int(error.get("n_prompt_tokens", 0)), int(error.get("n_ctx", 0)))
    if "grammar" in why:
        return UserError(
            "The grammar can't be used: {why}",
            remedy="It must be GBNF with a rule named root, and without left recursion.",
            why=why,
        )
    return UserError("The engine refused the request: {why}", remedy="Change the request and try again.", why=why)


def _door(address: str, key: str) -> httpx.Client:
    """A client for the library's own server, for what has no direct call."""
    headers = {"Authorization": f"Bearer {key}"}
    if address.startswith("unix://"):
        transport = httpx.HTTPTransport(uds=address.removeprefix("unix://"))
        return httpx.Client(transport=transport, base_url="http://engine", headers=headers, timeout=60)
    return httpx.Client(base_url=address, headers=headers, timeout=60, trust_env=False)


def _device() -> str:
    import xllamacpp

    kinds = [str(device["type"]) for device in xllamacpp.get_device_info()]
    return "gpu" if any("GPU" in kind for kind in kinds) else "cpu"
