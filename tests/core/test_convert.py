"""Converted checkpoints compute what the original arithmetic computes, and tokenize as the original tokenizer."""

from __future__ import annotations

import base64
import json
import math
from itertools import pairwise
from pathlib import Path

import pytest

from core.errors import UserError
from core.operation import Silent
from core.weights.convert import ConvertRequest, convert
from tests.core.weights_models import TEXT, WORDS, sentencepiece_tokenizer, tiny

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

PARAMS = {"dim": 64, "n_layers": 2, "n_heads": 8, "multiple_of": 32, "norm_eps": 1e-5, "vocab_size": -1}
INNER = 96


def random_weights(words: int, kv_heads: int) -> dict:
    """A whole model under Meta's names, fp16."""
    torch.manual_seed(3)
    dim, head = PARAMS["dim"], PARAMS["dim"] // PARAMS["n_heads"]
    shapes = {"tok_embeddings.weight": (words, dim), "output.weight": (words, dim), "norm.weight": (dim,)}
    for number in range(PARAMS["n_layers"]):
        layer = f"layers.{number}."
        shapes |= {layer + f"attention.w{name}.weight": (dim, dim) for name in "qo"}
        shapes |= {layer + f"attention.w{name}.weight": (kv_heads * head, dim) for name in "kv"}
        shapes |= {layer + f"feed_forward.w{name}.weight": (INNER, dim) for name in "13"}
        shapes |= {layer + "feed_forward.w2.weight": (dim, INNER)}
        shapes |= {layer + f"{name}_norm.weight": (dim,) for name in ("attention", "ffn")}
    return {name: (torch.randn(shape) * 0.1 + (len(shape) == 1)).half() for name, shape in shapes.items()}


def save_meta(folder: Path, weights: dict, shards: int, *, rows: bool = False, **params) -> None:
    """Split as Meta's model-parallel layers are: by rows or columns, norms in every shard."""
    folder.mkdir(exist_ok=True)
    for number in range(shards):
        piece = {}
        for name, tensor in weights.items():
            if tensor.ndim == 1:
                piece[name] = tensor
                continue
            by_columns = name.endswith(("wo.weight", "w2.weight")) or (name.startswith("tok") and not rows)
            piece[name] = tensor.chunk(shards, 1 if by_columns else 0)[number].clone()
        piece["rope.freqs"] = torch.ones(4)
        torch.save(piece, folder / f"consolidated.{number:02d}.pth")
    (folder / "params.json").write_text(json.dumps({**PARAMS, **params}))


def meta_forward(weights: dict, ids: list[int], kv_heads: int, theta: float, scaled: bool = False):
    """Meta's own arithmetic, written out: RMS norms, rotation of neighbouring pairs as complex numbers, SwiGLU."""
    w = {name: tensor.double() for name, tensor in weights.items()}
    heads, dim = PARAMS["n_heads"], PARAMS["dim"]
    head = dim // heads

    def norm(x, weight):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + PARAMS["norm_eps"]) * weight

    frequencies = 1 / theta ** (torch.arange(0, head, 2).double() / head)
    if scaled:  # LLaMA 3.1: long wavelengths divided by 8, short ones kept, in between interpolated
        kept = []
        for frequency in frequencies.tolist():
            wavelength = 2 * math.pi / frequency
            smooth = (8192 / wavelength - 1) / (4 - 1)
            if wavelength < 8192 / 4:
                kept.append(frequency)
            elif wavelength > 8192:
                kept.append(frequency / PARAMS_31["rope_scaling_factor"])
            else:
                kept.append((1 - smooth) * frequency / PARAMS_31["rope_scaling_factor"] + smooth * frequency)
        frequencies = torch.tensor(kept).double()
    turns = torch.polar(
        torch.ones(len(ids), head // 2).double(), torch.outer(torch.arange(len(ids)).double(), frequencies)
    )

    def rotate(x):  # positions x heads x head
        pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * turns[:, None]).flatten(-2)

    x = w["tok_embeddings.weight"][ids]
    mask = torch.full((len(ids), len(ids)), -math.inf).double().triu(1)
    for number in range(PARAMS["n_layers"]):
        layer = f"layers.{number}."
        h = norm(x, w[layer + "attention_norm.weight"])
        q = rotate((h @ w[layer + "attention.wq.weight"].T).view(-1, heads, head))
        k = rotate((h @ w[layer + "attention.wk.weight"].T).view(-1, kv_heads, head))
        v = (h @ w[layer + "attention.wv.weight"].T).view(-1, kv_heads, head)
        k, v = (t.repeat_interleave(heads // kv_heads, 1) for t in (k, v))
        scores = torch.einsum("qhd,khd->hqk", q, k) / math.sqrt(head) + mask
        mixed = torch.einsum("hqk,khd->qhd", scores.softmax(-1), v).reshape(len(ids), dim)
        x = x + mixed @ w[layer + "attention.wo.weight"].T
        h = norm(x, w[layer + "ffn_norm.weight"])
        gate = torch.nn.functional.silu(h @ w[layer + "feed_forward.w1.weight"].T)
        x = x + (gate * (h @ w[layer + "feed_forward.w3.weight"].T)) @ w[layer + "feed_forward.w2.weight"].T
    return norm(x, w["norm.weight"]) @ w["output.weight"].T


PARAMS_31 = {"use_scaled_rope": True, "rope_theta": 500_000.0, "rope_scaling_factor": 32.0}


def ranked_tokenizer(folder: Path) -> list[bytes]:
    """A tiktoken-style tokenizer.model: all bytes, then merges in order."""
    tokens = [bytes([byte]) for byte in range(256)]
    tokens += [
        b"he",
        b"th",
        b"the",
        b" t",
        b" the",
        b"in",
        b"ing",
        b"an",
        b"and",
        b" and",
        "王".encode()[:2],
        "王".encode(),
    ]
    folder.mkdir(exist_ok=True)
    lines = [f"{base64.b64encode(token).decode()} {rank}" for rank, token in enumerate(tokens)]
    (folder / "tokenizer.model").write_text("\n".join(lines) + "\n")
    return tokens


@pytest.mark.parametrize("generation", ["1, one file", "1, two files", "2, four files, grouped", "3, two files", "3.1"])
def test_a_converted_llama_computes_what_metas_arithmetic_computes(tmp_path, generation):
    source, kv_heads, params, rows = tmp_path / "meta", 8, {}, False
    shards = {"1, one file": 1, "1, two files": 2, "2, four files, grouped": 4, "3, two files": 2, "3.1": 1}[generation]
    if generation.startswith(("2", "3")):
        kv_heads = params["n_kv_heads"] = 4
    if generation.startswith("3"):
        params |= {"rope_theta": 500_000.0}
        rows = True
        words = len(ranked_tokenizer(source)) + 256
    else:
        words = sentencepiece_tokenizer(source)
    if generation == "3.1":
        params |= PARAMS_31
    weights = random_weights(words, kv_heads)
    save_meta(source, weights, shards, rows=rows, **params)
    convert(ConvertRequest(source=source, out=tmp_path / "hf", dtype="float32", shard_gb=0.0001), Silent())
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    ids = [1, 17, 200, 5, 9, 9, 33, 100, 250, 2, 61, 60] * 6
    with torch.no_grad():
        found = model(torch.tensor([ids])).logits[0].double()
    wanted = meta_forward(weights, ids, kv_heads, params.get("rope_theta", 10_000.0), generation == "3.1")
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("generation", "params", "dim", "words", "positions"),
    [
        ("LLaMA 13B", {"norm_eps": 1e-6}, 5120, 32_000, 2048),
        ("LLaMA 65B", {"norm_eps": 1e-5}, 8192, 32_000, 2048),
        ("Llama 2 13B", {"norm_eps": 1e-5}, 5120, 32_000, 4096),
        ("Llama 2 70B", {"norm_eps": 1e-5, "n_kv_heads": 8}, 8192, 32_000, 4096),
        ("Llama 3 8B", {"norm_eps": 1e-5, "n_kv_heads": 8, "rope_theta": 500_000.0}, 4096, 128_256, 8192),
        ("Llama 3.1 8B", {"norm_eps": 1e-5, "n_kv_heads": 8, "use_scaled_rope": True}, 4096, 128_256, 131_072),
    ],
)
def test_every_generation_keeps_its_number_of_positions(generation, params, dim, words, positions):
    from core.weights.meta import config_of
    from core.weights.views import Zeros

    tensors = {
        "model.embed_tokens.weight": Zeros(words, dim),
        "model.layers.0.mlp.gate_proj.weight": Zeros(11, dim),
        "model.layers.0.self_attn.q_proj.weight": Zeros(dim, dim),
    }
    config = config_of({"n_heads": dim // 128, "n_layers": 1, **params}, tensors)
    assert (config["max_position_embeddings"], config["head_dim"]) == (positions, 128), generation


def test_a_llama_2_tokenizer_stays_itself(tmp_path):
    import sentencepiece

    words = sentencepiece_tokenizer(tmp_path / "meta")
    (tmp_path / "meta" / "tokenizer_config.json").unlink()
    save_meta(tmp_path / "meta", random_weights(words, 8), 2)
    convert(ConvertRequest(source=tmp_path / "meta", out=tmp_path / "hf"), Silent())
    original = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "meta" / "tokenizer.model"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    for text in (TEXT, "Hello", "  two  spaces", "王小明 2021"):
        assert tokenizer(text)["input_ids"] == [original.bos_id(), *original.encode(text)], text


def test_a_llama_3_tokenizer_stays_itself(tmp_path):
    import regex

    tokens = ranked_tokenizer(tmp_path / "meta")
    save_meta(tmp_path / "meta", random_weights(len(tokens) + 256, 8), 1, n_kv_heads=8)
    convert(ConvertRequest(source=tmp_path / "meta", out=tmp_path / "hf"), Silent())
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    ranks = {token: rank for rank, token in enumerate(tokens)}

    def original(text: str) -> list[int]:
        """Byte pairs merged lowest rank first, as tiktoken does."""
        ids = []
        for word in regex.findall(WORDS % "{1,3}", text):
            parts = [bytes([byte]) for byte in word.encode()]
            while True:
                joined = [(ranks[a + b], place) for place, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]
                if not joined:
                    break
                _, place = min(joined)
                parts[place : place + 2] = [parts[place] + parts[place + 1]]
            ids += [ranks[part] for part in parts]
        return ids

    for text in (TEXT, "the thing and then anding 12345 王王", " the\n\n the"):
        assert tokenizer(text)["input_ids"] == [len(tokens), *original(text)], text
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
    assert tokenizer.convert_tokens_to_ids("<|eot_id|>") == len(tokens) + 9


def test_bin_files_become_the_same_tensors_in_safetensors(tmp_path):
    source = tmp_path / "bin"
    model = tiny(source, "llama", 300)
    model = model.to(torch.bfloat16)
    (source / "model.safetensors").unlink()
    state = model.state_dict()
    names = list(state)
    halves = {"pytorch_model-00001-of-00002.bin": names[:9], "pytorch_model-00002-of-00002.bin": names[9:]}
    for file, part in halves.items():
        torch.save({name: state[name] for name in part}, source / file)
    weight_map = {name: file for file, part in halves.items() for name in part}
    (source / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    result = convert(ConvertRequest(source=source, out=tmp_path / "out"), Silent())
    found = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").state_dict()
    assert result.tensors == len(names)
    for name in names:
        assert found[name].dtype == torch.bfloat16
        assert torch.equal(found[name], state[name]), name


def test_a_checkpoint_with_a_piece_missing_is_refused_by_name(tmp_path):
    words = sentencepiece_tokenizer(tmp_path / "meta")
    weights = random_weights(words, 8)
    del weights["layers.1.feed_forward.w3.weight"]
    save_meta(tmp_path / "meta", weights, 2)
    with pytest.raises(UserError, match=r"layers\.1\.mlp\.up_proj"):
        convert(ConvertRequest(source=tmp_path / "meta", out=tmp_path / "hf"), Silent())
    assert not (tmp_path / "hf").exists()
