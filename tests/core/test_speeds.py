"""Which engine a model is loaded with: measured speed first, then what is usually best for the purpose."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import models
from core.errors import UserError
from core.extract.speed_run import BenchRequest, run
from core.inference import client, speeds
from core.inference.engine import WHY_BY_HAND, WHY_FASTEST, choose
from core.inference.engines import llamacpp, openvino
from core.inference.speeds import Speed
from core.models import Card, Model
from core.operation import Silent


@pytest.fixture
def gguf(workspace: Path) -> Model:
    file = workspace / "some.gguf"
    file.write_bytes(b"GGUF" + bytes(1000))
    return Model(str(file), "gguf", Card(), file)


def test_many_texts_go_to_the_engine_that_answers_many(gguf: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino.Engine, "batch_preference", 5)
    assert choose(gguf)[0] == "llamacpp"
    assert choose(gguf, purpose="batch")[0] == "openvino"
    monkeypatch.setattr(openvino.Engine, "batch_preference", 15)  # as on processors where nobody measured it
    assert choose(gguf, purpose="batch")[0] == "llamacpp"


def test_measured_speeds_decide_once_there_are_two(gguf: Model) -> None:
    speeds.keep(gguf, "openvino", Speed(tokens_per_second=90, rows_per_second=1))
    assert choose(gguf) == ("llamacpp", llamacpp.Engine, llamacpp.Engine.why)
    speeds.keep(gguf, "llamacpp", Speed(tokens_per_second=80, rows_per_second=2))
    assert choose(gguf)[::2] == ("openvino", WHY_FASTEST)
    assert choose(gguf, purpose="batch")[::2] == ("llamacpp", WHY_FASTEST)
    assert choose(gguf, "llamacpp")[::2] == ("llamacpp", WHY_BY_HAND)


def test_other_weights_were_not_measured(gguf: Model) -> None:
    speeds.keep(gguf, "openvino", Speed(90, 1))
    speeds.keep(gguf, "llamacpp", Speed(80, 2))
    assert gguf.path is not None
    gguf.path.write_bytes(b"GGUF" + bytes(2000))
    assert speeds.known(gguf, "openvino") is None
    assert choose(gguf)[0] == "llamacpp"


def test_a_broken_file_of_speeds_is_as_none(gguf: Model, workspace: Path) -> None:
    (workspace / "speeds.json").write_text("{", encoding="utf-8")
    assert speeds.known(gguf, "openvino") is None


@pytest.mark.model
@pytest.mark.alone
def test_a_batch_loads_a_model_anew_that_nobody_uses(starter_workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = models.resolve(models.STARTER)
    speeds.keep(model, "llamacpp", Speed(2, 1))
    speeds.keep(model, "openvino", Speed(1, 2))
    assert client.connect(model.ref).model.ref == model.ref
    assert client.status().engine == "llamacpp"
    client.connect(model.ref, "batch")
    now = client.status()
    assert (now.engine, now.why_engine) == ("openvino", WHY_FASTEST)
    client.connect(model.ref)
    assert client.status().pid == now.pid  # good enough for a chat: nothing is loaded again
    client.load(model.ref, engine="llamacpp")
    client.connect(model.ref, "batch")
    assert client.status().engine == "llamacpp"  # a person chose it


@pytest.mark.model
@pytest.mark.alone
def test_the_bench_measures_an_engine_and_keeps_what_it_found(starter_workspace: Path) -> None:
    result = run(BenchRequest(model=models.STARTER, rows=4, engine="llamacpp"), Silent())
    (one,) = result.engines
    assert one.rows == 4 and one.rows_per_second > 0 and one.tokens_per_second > 0 and one.first_token_seconds > 0
    assert client.status().state == "empty"
    assert speeds.known(models.resolve(models.STARTER), "llamacpp") == Speed(one.tokens_per_second, one.rows_per_second)
    assert f"{one.rows_per_second:.2f} rows/s" in result.summary()


def test_a_bench_that_measures_nothing_says_why(workspace: Path) -> None:
    file = workspace / "cut.gguf"
    file.write_bytes(b"GGUF")
    with pytest.raises(UserError, match="No engine could be measured"):
        run(BenchRequest(model=str(file), engine="transformers"), Silent())
