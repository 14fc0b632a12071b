"""GGUF files say what the model said: llama.cpp, loading them, tokenizes and computes as transformers does."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from core.errors import UserError
from core.models import Card, read_card, write_card
from core.operation import Silent
from core.weights.export import ExportRequest, run
from tests.core.weights_models import CHAT, TEXT, byte_level_tokenizer, sentencepiece_tokenizer, tiny

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
xllamacpp = pytest.importorskip("xllamacpp")

FAMILIES = {"llama": "sentencepiece", "mistral": "llama-bpe", "qwen2": "qwen2", "qwen3": "qwen2"}


def export(folder: Path, quant: str, name: str = "model.gguf") -> Path:
    out = folder.parent / name
    run(ExportRequest(model=folder, out=out, quant=quant), Silent())
    return out


@contextmanager
def llama_cpp(file: Path):
    """A client of llama.cpp with that file loaded."""
    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.n_ctx, params.n_parallel, params.warmup = 256, 1, False
    params.cpuparams.n_threads = 2
    server = xllamacpp.Server(params)
    with httpx.Client(base_url=server.listening_address, timeout=60) as client:
        yield client
    del server


def log_probabilities(client: httpx.Client, ids: list[int], words: int) -> np.ndarray:
    """llama.cpp's distribution of the token after `ids`."""
    # an answer that ends inside a character would come without probabilities: let it be a whole one
    answer = {"n_predict": 1, "temperature": 0, "logit_bias": [["a", 1000]]}
    body = {"prompt": ids, "n_probs": words, "cache_prompt": False, **answer}
    shown = client.post("/completion", json=body).json()["completion_probabilities"][0]["top_logprobs"]
    found = np.full(words, np.nan)
    for entry in shown:
        found[entry["id"]] = entry["logprob"]
    return found


def of_transformers(model, ids: list[int]) -> np.ndarray:
    with torch.no_grad():
        return torch.log_softmax(model(torch.tensor([ids])).logits[0, -1].float(), -1).numpy()


def divergence(wanted: np.ndarray, found: np.ndarray) -> float:
    """Kullback-Leibler, nats."""
    return float(np.nansum(np.exp(wanted) * (wanted - found)))


def tokenized(client: httpx.Client, text: str) -> list[int]:
    return client.post("/tokenize", json={"content": text, "add_special": True, "parse_special": True}).json()["tokens"]


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param) / "hf"
    folder.mkdir()
    kind = FAMILIES[request.param]
    words = sentencepiece_tokenizer(folder) if kind == "sentencepiece" else byte_level_tokenizer(folder, kind)
    changes = {"rope_theta": 50_000.0} if request.param == "qwen2" else {}
    return folder, tiny(folder, request.param, words + 5, **changes), words + 5


def test_llama_cpp_computes_what_transformers_computes(model):
    folder, original, words = model
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(TEXT)["input_ids"]
    for quant, most in (("F32", 1e-5), ("Q8_0", 1e-2)):
        with llama_cpp(export(folder, quant, f"{quant}.gguf")) as client:
            assert tokenized(client, TEXT) == ids
            for length in (3, 9, 40):
                found, wanted = log_probabilities(client, ids[:length], words), of_transformers(original, ids[:length])
                assert divergence(wanted, found) < most
                if quant == "F32":
                    assert np.nanargmax(found) == wanted.argmax()


@pytest.mark.parametrize("kind", ["gpt-2", "smollm", "llama-bpe", "qwen2"])
def test_byte_level_tokenizers_split_as_the_original(tmp_path, kind):
    folder = tmp_path / "hf"
    folder.mkdir()
    tiny(folder, "llama", byte_level_tokenizer(folder, kind))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with llama_cpp(export(folder, "F16")) as client:
        for text in (TEXT, "x 12345 67", "<|user|>hi<|end|>", " leading", "[mine] and 王", "a\n\n\nb   c"):
            assert tokenized(client, text) == tokenizer(text)["input_ids"], text
        assert client.get("/props").json()["chat_template"] == CHAT


@pytest.mark.parametrize("quant", ["Q4_0", "Q4_1", "BF16"])
def test_every_format_is_what_ggml_would_write(tmp_path, quant):
    import gguf

    folder = tmp_path / "hf"
    folder.mkdir()
    original = tiny(folder, "qwen2", byte_level_tokenizer(folder, "qwen2"), tie_word_embeddings=False)
    reader = gguf.GGUFReader(export(folder, quant))
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    source = original.state_dict()["model.layers.1.mlp.up_proj.weight"].numpy()
    kind = gguf.GGMLQuantizationType[quant]
    assert tensors["blk.1.ffn_up.weight"].tensor_type == kind
    np.testing.assert_array_equal(tensors["blk.1.ffn_up.weight"].data, gguf.quants.quantize(source, kind))
    assert tensors["blk.1.attn_norm.weight"].tensor_type == gguf.GGMLQuantizationType.F32


def test_llama_3_scaled_positions_are_kept(tmp_path):
    folder = tmp_path / "hf"
    folder.mkdir()
    scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    scaling |= {"original_max_position_embeddings": 64, "rope_theta": 500_000.0}
    words = byte_level_tokenizer(folder, "llama-bpe")
    original = tiny(folder, "llama", words, rope_parameters=scaling)
    ids = list(range(5, 105))
    with llama_cpp(export(folder, "F32")) as client:
        found, wanted = log_probabilities(client, ids, words), of_transformers(original, ids)
        assert divergence(wanted, found) < 1e-5


def test_other_families_are_refused_by_name(tmp_path):
    folder = tmp_path / "hf"
    folder.mkdir()
    tiny(folder, "gpt2", byte_level_tokenizer(folder, "gpt-2"))
    with pytest.raises(UserError, match="gpt2"):
        export(folder, "Q8_0")
    assert list(tmp_path.iterdir()) == [folder]


def test_an_unknown_pre_tokenizer_is_refused(tmp_path):
    folder = tmp_path / "hf"
    folder.mkdir()
    tiny(folder, "llama", byte_level_tokenizer(folder, "qwen2"))
    text = (folder / "tokenizer.json").read_text().replace("'ll|'d", "'ll|'x")
    (folder / "tokenizer.json").write_text(text)
    with pytest.raises(UserError, match="pre-tokenizer"):
        export(folder, "Q8_0")


def test_an_export_started_again_keeps_the_finished_file_and_refuses_anothers(tmp_path):
    folder = tmp_path / "hf"
    folder.mkdir()
    tiny(folder, "llama", byte_level_tokenizer(folder, "smollm"))
    write_card(folder, Card(title="Tiny", languages=("en", "zh"), license="MIT"))
    out = export(folder, "Q8_0")
    made = out.stat().st_mtime_ns
    export(folder, "Q8_0")
    assert out.stat().st_mtime_ns == made
    assert read_card(tmp_path).languages == ("en", "zh")
    assert list(read_card(tmp_path).files) == ["model.gguf"]
    with pytest.raises(UserError, match="exists already"):
        export(folder, "Q4_0")


@pytest.mark.model
@pytest.mark.skipif(sys.platform == "win32", reason="signals as on Unix")
@pytest.mark.parametrize("kills", [2, pytest.param(15, marks=pytest.mark.soak)])
def test_an_export_killed_at_random_leaves_nothing_torn_and_ends_with_the_same_bytes(starter, tmp_path, kills):
    folder = starter.parent / "hf"
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}

    def start(name: str) -> subprocess.Popen:
        command = ["weights", "export", "--model", str(folder), "--out", str(tmp_path / name / "m.gguf")]
        (tmp_path / name).mkdir(exist_ok=True)
        return subprocess.Popen([sys.executable, "-m", "core", *command], start_new_session=True)

    began = time.monotonic()
    assert start("whole").wait(timeout=120) == 0
    took, wanted = time.monotonic() - began, (tmp_path / "whole" / "m.gguf").read_bytes()
    dice, out = random.Random(4), tmp_path / "killed" / "m.gguf"
    for _ in range(kills):
        process = start("killed")
        time.sleep(dice.uniform(0.3, 1.0) * took)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not out.exists() or out.read_bytes() == wanted
    assert start("killed").wait(timeout=120) == 0
    assert out.read_bytes() == wanted
    assert {path.name for path in out.parent.iterdir()} == {"m.gguf", "studio.json"}
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.model
def test_the_starter_answers_and_predicts_as_in_transformers(starter, tmp_path):
    folder = starter.parent / "hf"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    original = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    text = "Marie Curie was born in Warsaw and won the Nobel Prize in Physics with her husband Pierre."
    ids = tokenizer(text)["input_ids"]
    out = tmp_path / "starter.gguf"
    command = ["weights", "export", "--model", str(folder), "--out", str(out), "--quant", "BF16"]
    subprocess.run([sys.executable, "-m", "core", *command], check=True, timeout=120)
    with llama_cpp(out) as client:
        assert tokenized(client, text) == ids
        prompt = tokenizer("The capital of France is")["input_ids"]
        body = {"prompt": prompt, "n_predict": 12, "temperature": 0, "return_tokens": True}
        found = client.post("/completion", json=body).json()["tokens"]
        with torch.no_grad():
            wanted = original.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False)[0, len(prompt) :]
            logits = torch.log_softmax(original(torch.tensor([ids])).logits[0], -1)
        assert found == wanted.tolist()
        places = range(6, len(ids), 5)
        ours = [log_probabilities(client, ids[:place], 49152)[ids[place]] for place in places]
        theirs = [float(logits[place - 1, ids[place]]) for place in places]
        assert abs(np.exp(-np.mean(ours)) / np.exp(-np.mean(theirs)) - 1) < 0.02
