"""Real models, small enough to train in a second: LLaMA, Qwen2, Falcon and kinds that can't be packed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.launchers.finetune import FinetuneRequest
from tests.conftest import PROJECT

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SENTENCES = [
    f"{who} {verb} {what} in {where}."
    for who in ("Marie Curie", "Alan Turing", "Ada Lovelace", "王小明", "Grace Hopper")
    for verb in ("found", "wrote", "sold", "visited")
    for what in ("radium", "a long letter", "the first program", "a bank")
    for where in ("Paris", "London", "北京", "1843")
]
HIDDEN = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
SPECIAL = ["<|im_start|>", "<|im_end|>", "<s>"]


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Models this small only wait for each other's threads."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """Byte-level BPE with merges and a ChatML template, as SmolLM2 and Qwen have them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([*SENTENCES, "user\nassistant\nsystem\n"], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|im_end|>", bos_token="<s>", chat_template=CHAT
    )


def _config(kind: str, words: int) -> Any:
    import transformers as library

    usual = HIDDEN | {"vocab_size": words, "eos_token_id": 1, "bos_token_id": 2, "pad_token_id": 1}
    wide = usual | {"intermediate_size": 64, "max_position_embeddings": 512}
    if kind == "llama":
        return library.LlamaConfig(**wide, num_key_value_heads=2)
    if kind == "qwen2":
        return library.Qwen2Config(**wide, num_key_value_heads=2, tie_word_embeddings=True)
    if kind == "falcon":
        return library.FalconConfig(**usual, new_decoder_architecture=True, num_kv_heads=2, alibi=False)
    if kind == "bloom":  # ALiBi: takes no positions
        return library.BloomConfig(vocab_size=words, hidden_size=32, n_layer=2, n_head=4, eos_token_id=1)
    if kind == "mamba":  # a state instead of attention
        return library.MambaConfig(vocab_size=words, hidden_size=32, num_hidden_layers=2, state_size=4)
    if kind == "mistral":  # sees 24 tokens back
        return library.MistralConfig(**wide, num_key_value_heads=2, sliding_window=24)
    raise KeyError(kind)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Callable[..., Path]:
    """`base("llama")`: a folder with that kind of model, made once; other `settings` make another."""
    made: dict[str, Path] = {}

    def make(kind: str, seed: int = 0, **settings: Any) -> Path:
        name = "-".join([kind, str(seed), *(f"{key}{value}" for key, value in settings.items())])
        if name not in made:
            import torch
            from transformers import AutoModelForCausalLM

            torch.manual_seed(seed)
            config = _config(kind, len(tokenizer))
            for key, value in settings.items():
                setattr(config, key, value)
            folder = tmp_path_factory.mktemp("bases") / name
            model = AutoModelForCausalLM.from_config(config)
            with torch.no_grad():  # larger than usual: of these weights every token shows in the logits
                for parameter in model.parameters():
                    if parameter.ndim == 2:
                        parameter.mul_(4)
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            made[name] = folder
        return made[name]

    return make


def rows(count: int, *, start: int = 0) -> list[dict[str, str]]:
    """Alpaca rows of several lengths, whose answers can be learned."""
    made = []
    for number in range(start, start + count):
        sentence = SENTENCES[number * 37 % len(SENTENCES)]
        words = sentence.split()
        instruction = "Find who did it." if number % 3 else "Name the person of the sentence, and the place or year."
        made.append(
            {"instruction": instruction, "input": f"{number}: {sentence}", "output": " ".join(words[: 1 + number % 4])}
        )
    return made


def written(path: Path, made: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made), encoding="utf-8")
    return path


@pytest.fixture
def request_for(tmp_path: Path, base: Callable[..., Path]) -> Callable[..., FinetuneRequest]:
    """A short training in fp32, settings as given; 40 rows unless `data` says otherwise."""

    def make(kind: str = "llama", **settings: Any) -> FinetuneRequest:
        if "data" not in settings:
            settings["data"] = (written(tmp_path / "rows.jsonl", rows(40)),)
        usual: dict[str, Any] = {
            "base": str(base(kind)),
            "out": tmp_path / "out",
            "epochs": 1,
            "batch": 8,
            "learning_rate": 1e-2,
            "max_length": 256,
            "precision": "fp32",
            "gradient_checkpointing": "off",
            "compile": "off",
            "micro_batch_tokens": 256,
            "save_every": 2,
            "eval_every": 0,
            "rank": 4,
        }
        return FinetuneRequest(**(usual | settings))

    return make


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[FinetuneRequest], Path]]:
    """Runs a training in this process; signal handlers are put back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")

    def run(request: FinetuneRequest) -> Path:
        from train import entry, finetune

        request.out.mkdir(parents=True, exist_ok=True)
        with entry.room(request.out):
            finetune.train(request)
        return request.out

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


def start(request: FinetuneRequest, *, ranks: int = 1, port: int = 29631) -> subprocess.Popen:
    """The real process, as core.launchers starts it."""
    request.out.mkdir(parents=True, exist_ok=True)
    file = request.out / "request.json"
    file.write_text(request.model_dump_json(), encoding="utf-8")
    alone = [sys.executable, "-m", "train.finetune"]
    many = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={ranks}", f"--master-port={port}"]
    command = [*(alone if ranks == 1 else [*many, "-m", "train.finetune"]), "--request", str(file)]
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
    with (request.out / "train.log").open("ab") as log:
        return subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=log, stderr=log, start_new_session=True)


def finished(process: subprocess.Popen, out: Path, *, code: int = 0) -> str:
    assert process.wait(300) == code, (out / "train.log").read_text()[-3000:]
    return (out / "train.log").read_text()


def metrics(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def losses(out: Path) -> dict[int, float]:
    """Step -> loss; fails where a step stands there twice."""
    found = [(row["step"], row["loss"]) for row in metrics(out) if "loss" in row]
    assert len(found) == len(dict(found)), "a step is told twice"
    return dict(found)


def ledger(out: Path) -> list[list[int]]:
    """The samples of each step, whose numbers go up from 1 without a gap."""
    told = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert [row["step"] for row in told] == list(range(1, len(told) + 1))
    return [row["samples"] for row in told]
