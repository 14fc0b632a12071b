"""Tiny real models and tokenizers that the weights' tests are made of."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

TEXT = (
    "Ada Lovelace wrote about the Analytical Engine in 1843. It's said she'd met Charles Babbage at 17!\n"
    "王小明于2021年加入北京大学，研究知识图谱。\n\n  def add(a, b):\n\treturn a + b  # 3.14159, naïve café\r\n"
    "The quick brown fox jumps over 13 lazy dogs; WE'LL see — won't we? 😀 ok\n"
)
CHAT = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
SMALL = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_level_tokenizer(folder: Path, kind: str) -> int:
    """Train and save a byte-level BPE with the pre-tokenizer of a family; the number of tokens."""
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=kind in ("gpt-2", "smollm"))
    steps = {
        "gpt-2": [],
        "smollm": [pre_tokenizers.Digits(individual_digits=True)],
        "qwen2": [pre_tokenizers.Split(Regex(WORDS % ""), "isolated")],
        "llama-bpe": [pre_tokenizers.Split(Regex(WORDS % "{1,3}"), "isolated")],
    }[kind]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*steps, level]) if steps else level
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|start|>", "<|end|>", "<|user|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([TEXT] * 4, trainer)
    tokenizer.add_tokens(["[mine]"])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"bos_token": "<|start|>", "eos_token": "<|end|>", "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_text(CHAT)
    return tokenizer.get_vocab_size()


def sentencepiece_tokenizer(folder: Path) -> int:
    """Train and save a LLaMA-like tokenizer.model (BPE, byte fallback); the number of tokens."""
    import sentencepiece

    folder.mkdir(parents=True, exist_ok=True)
    corpus = folder / "corpus.txt"
    corpus.write_text(TEXT * 4, encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=420,
        byte_fallback=True,
        character_coverage=0.995,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        minloglevel=2,
    )
    corpus.unlink()
    (folder / "tokenizer.vocab").unlink()
    settings = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "tokenizer_class": "LlamaTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "add_bos_token": True, "legacy": False}))
    return 420


def tiny(folder: Path, family: str, words: int, **changes):
    """A random model of a family, saved in fp32. Norms and biases are random too, so that a lost one shows."""
    torch.manual_seed(7)
    kind = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3", "gpt2": "GPT2"}[family]
    settings = {**SMALL, "vocab_size": words, **changes}
    if family == "qwen3":
        settings |= {"head_dim": 32}
    config = getattr(transformers, f"{kind}Config")(**settings)
    name = {"Llama": "LlamaForCausalLM", "GPT2": "GPT2LMHeadModel"}.get(kind, f"{kind}ForCausalLM")
    model = getattr(transformers, name)(config).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            noise = torch.randn_like(parameter)
            parameter.add_(noise * (0.1 if parameter.ndim == 1 else 0.15))
            if key.endswith("bias"):
                parameter.add_(noise)
    model.save_pretrained(folder)
    return model
