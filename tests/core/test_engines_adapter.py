"""Adapters come and go on a base that stays in memory, each answer given by the one that was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import models
from core.errors import UserError
from core.inference import client, state
from core.inference.commands import LoadRequest, StatusRequest, estimate_load, load, status
from core.inference.decoding import Decoding
from core.inference.engine import Generation, Options, choose
from core.inference.engines.transformers import Engine
from core.operation import Silent
from tests.core.tiny_llama import make_tiny_adapter, make_tiny_llama

pytestmark = pytest.mark.model
PROMPT = "The capital of France is"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def tuned(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two adapters of one base, each strong enough to change what it says."""
    folder = tmp_path_factory.mktemp("adapters")
    one = make_tiny_adapter(tiny, folder / "one", seed=1)
    return one, make_tiny_adapter(tiny, folder / "two", seed=2, rank=8, targets=("v_proj", "down_proj"))


@pytest.fixture(scope="module")
def unfit(tuned: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Adapters of another base, of no layers of this one, and one that was cut short."""
    folder = tmp_path_factory.mktemp("unfit")
    wider = make_tiny_llama(folder / "wider", hidden=96)
    others = [make_tiny_adapter(wider, folder / "of-the-wider", seed=3)]
    for name, change in (("elsewhere", b"self_attn.q_proj"), ("cut", b"")):
        made = folder / name
        made.mkdir()
        told = json.loads((tuned[0] / models.ADAPTER_CONFIG).read_text())
        (made / models.ADAPTER_CONFIG).write_text(json.dumps(told))
        weights = (tuned[0] / "adapter_model.safetensors").read_bytes()
        weights = weights.replace(change, change[:-1] + b"x") if change else weights[:-1000]
        (made / "adapter_model.safetensors").write_bytes(weights)
        others.append(made)
    base = json.loads((tuned[0] / models.ADAPTER_CONFIG).read_text())["base_model_name_or_path"]
    config = others[0] / models.ADAPTER_CONFIG
    config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": base}))
    return others


def greedy(engine: Engine, **how: object) -> str:
    request = Generation(Decoding(max_tokens=12), PROMPT, **how)  # type: ignore[arg-type]
    return "".join(piece.text for piece in engine.generate(request, threading.Event()))


def opened(path: Path, **options: object) -> Engine:
    engine = Engine()
    engine.load(models.resolve(str(path)), Options(**options))  # type: ignore[arg-type]
    return engine


def test_an_adapter_is_answered_with_and_without_it(tiny: Path, tuned: tuple[Path, Path], workspace: Path) -> None:
    assert choose(models.resolve(str(tuned[0])))[0] == "transformers"
    engine, base = opened(tuned[0]), opened(tiny)
    alone = greedy(base)
    assert greedy(engine) != alone
    assert greedy(engine, adapter=False) == alone
    assert engine.can.lora and not base.can.lora
    with pytest.raises(UserError, match="no adapter"):
        greedy(base, adapter=False)


def test_adapters_take_turns_on_one_base(tiny: Path, tuned: tuple[Path, Path], workspace: Path) -> None:
    engine = opened(tiny)
    expected = {str(tiny): greedy(engine)} | {str(path): greedy(opened(path)) for path in tuned}
    assert len(set(expected.values())) == 3
    weights = engine._model.get_input_embeddings().weight.data_ptr()
    for path in (*tuned, tiny, tuned[0]):
        loaded = engine.adapt(models.resolve(str(path)))
        assert greedy(engine) == expected[str(path)]
        assert ("one" in str(loaded.facts[-1])) == (path == tuned[0])
    assert {ref: greedy(engine, model=ref) for ref in expected} == expected
    assert greedy(engine, model=str(tuned[1]), adapter=False) == expected[str(tiny)]
    assert engine._model.get_input_embeddings().weight.data_ptr() == weights


@pytest.mark.parametrize("first", [True, False])
def test_an_adapter_that_does_not_fit_leaves_all_as_it_was(
    tiny: Path, tuned: tuple[Path, Path], unfit: list[Path], workspace: Path, first: bool
) -> None:
    engine = opened(tiny if first else tuned[0])
    before = greedy(engine)
    for path in unfit:
        with pytest.raises(UserError, match="can't load"):
            engine.adapt(models.resolve(str(path)))
        assert greedy(engine) == before
    engine.adapt(models.resolve(str(tuned[1])))
    assert greedy(engine) == greedy(opened(tuned[1]))


def test_an_adapter_without_its_base_says_which_is_missing(
    tuned: tuple[Path, Path], tmp_path: Path, workspace: Path
) -> None:
    adapter = tuned[0]
    (tmp_path / "adapter_model.safetensors").write_bytes((adapter / "adapter_model.safetensors").read_bytes())
    told = json.loads((adapter / models.ADAPTER_CONFIG).read_text()) | {"base_model_name_or_path": "nowhere/at-all"}
    (tmp_path / models.ADAPTER_CONFIG).write_text(json.dumps(told))
    with pytest.raises(UserError, match="nowhere/at-all"):
        models.base_weights(models.resolve(str(tmp_path)))


@pytest.fixture
def home(workspace: Path) -> Iterator[Path]:
    yield workspace
    client.unload()


def said(ref: Path) -> str:
    return client.connect(str(ref)).complete(PROMPT, Decoding(max_tokens=12)).text


def test_the_host_keeps_its_base_while_adapters_change(
    tiny: Path, tuned: tuple[Path, Path], unfit: list[Path], home: Path, tmp_path: Path
) -> None:
    one, two = tuned
    pid = client.load(str(tiny)).pid
    plain = client.connect(str(tiny))
    base = said(tiny)
    first = load(LoadRequest(model=str(tiny), adapter=str(one)), Silent())
    assert first.model == str(one)
    assert any("stays in memory" in fact for fact in first.facts)
    answers = {path: said(path) for path in (one, two)}
    assert len({base, *answers.values()}) == 3
    told = status(StatusRequest(), Silent()).summary()
    assert str(two) in told and "processor" in told
    assert plain.complete(PROMPT, Decoding(max_tokens=12)).text == base  # who asked the base goes on asking it
    with pytest.raises(UserError, match="can't load"):
        client.load(str(unfit[0]))
    assert said(two) == answers[two]
    assert client.status().pid == pid
    record = state.read()
    assert record is not None and record.base == str(tiny)

    # an adapter that names a base which isn't here goes on the one that a person names
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in one.iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    config = moved / models.ADAPTER_CONFIG
    config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": "some/hub-id"}))
    request = LoadRequest(model=str(tiny), adapter=str(moved))
    assert estimate_load(request).ram is not None
    assert load(request, Silent()).model == str(moved)
    assert said(moved) == answers[one]
    assert client.status().pid == pid

    # other options are another load
    assert client.load(str(one), options=Options(context=128)).context == 128
    assert client.status().pid != pid


def test_what_is_no_adapter_is_refused_before_anything_starts(tiny: Path, tuned: tuple[Path, Path], home: Path) -> None:
    with pytest.raises(UserError, match="is no adapter"):
        load(LoadRequest(model=str(tiny), adapter=str(tiny)), Silent())
    with pytest.raises(UserError, match="no Hugging Face weights"):
        load(LoadRequest(model=str(tuned[1]), adapter=str(tuned[0])), Silent())
    assert client.status().state == "empty"
