"""The starter's GGUF file as a Hugging Face folder: `python -m core.weights.starter_folder GGUF FOLDER`.

A process of its own, since torch and transformers take a gigabyte that the caller should not keep.
It ends when its standard input does, so that it never outlives a killed caller.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from core.weights import durable

VERSION = 2
"""Of what this writes: raised where folders that were made before are to be made again.

2: numbers are cut into digits, as llama.cpp's `smollm` does.
"""
# transformers reads every byte-level tokenizer of a GGUF file as GPT-2's; this is how SmolLM2 was published
_PRE_TOKENIZER = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ],
}


def convert(gguf: Path, folder: Path) -> None:
    """Write config.json, the tokenizer and model.safetensors (BF16) into an existing folder."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    source = str(gguf.parent)
    here: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
    read: Any = LlamaForCausalLM.from_pretrained(source, dtype=torch.float32, **here)
    # transformers marks what it read from GGUF as quantized and refuses to save it: copy into a fresh model
    settings = {key: value for key, value in read.config.to_dict().items() if key != "quantization_config"}
    fresh: Any = LlamaForCausalLM(LlamaConfig.from_dict(settings))
    fresh.to(torch.bfloat16)
    fresh.load_state_dict(read.state_dict())
    fresh.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, **here).save_pretrained(folder)
    cut_digits(folder / "tokenizer.json")


def cut_digits(file: Path) -> None:
    """Give a tokenizer.json the pre-tokenizer that SmolLM2 has; whole or not at all."""
    tokenizer = json.loads(file.read_text("utf-8"))
    tokenizer["pre_tokenizer"] = _PRE_TOKENIZER
    durable.write_text(file, json.dumps(tokenizer, ensure_ascii=False, indent=2))


def _end_with_caller() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_caller, daemon=True).start()
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
