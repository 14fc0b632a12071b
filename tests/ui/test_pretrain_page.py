"""Pretraining on the Train page: corpora, mix, what it needs; a finished one's perplexities, texts and way on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core import paths
from core.launchers.pretrain_request import PretrainRequest
from tests.ui.conftest import OpenPage, texts
from tests.ui.test_train_page import HOSTILE, lay_out_llama, primary
from train.corpus.store import Piece, Vocabulary, Writer
from ui.parts import train_runs


@pytest.fixture
def tiny(workspace: Path) -> Path:
    return lay_out_llama(paths.models() / "tiny")


@pytest.fixture
def built(workspace: Path) -> Path:
    """A corpus of two sources in the workspace."""
    folder = paths.corpora() / "library"
    vocabulary = Vocabulary("print", 258, "tiny")
    for source, rows in (("wiki", 300), ("news", 100)):
        with Writer(folder / f"{source}.tokens", vocabulary, source=source, length=64) as writer:
            for number in range(rows):
                writer.row([Piece(np.arange(60, dtype=np.uint16), number)])
    return folder


def pretraining(page: AppTest) -> AppTest:
    page.segmented_control(key="train.kind").set_value("pretrain").run()
    assert not page.exception
    return page


def with_corpus(page: AppTest, folder: Path) -> AppTest:
    pretraining(page).text_input(key="pretrain.corpus.path").set_value(str(folder)).run()
    assert not page.exception
    return page


def test_without_a_corpus_it_leads_to_the_data_page(open_page: OpenPage, language: str, tiny: Path) -> None:
    page = pretraining(open_page("train"))
    assert not primary(page) or page.button(key="train.start").disabled


def test_a_corpus_shows_its_sources_and_what_a_training_of_it_takes(
    open_page: OpenPage, language: str, tiny: Path, built: Path
) -> None:
    page = with_corpus(open_page("train"), built)
    assert "library" in texts(page) and "64" in texts(page)
    start = page.button(key="train.start")
    assert not start.disabled
    page.toggle(key="pretrain.mix").set_value(True).run()
    assert page.number_input(key="pretrain.share.wiki").value == 75
    page.number_input(key="pretrain.share.news").set_value(0).run()
    assert not page.exception and not page.button(key="train.start").disabled


def test_a_folder_without_stores_is_said(open_page: OpenPage, language: str, tiny: Path, tmp_path: Path) -> None:
    page = with_corpus(open_page("train"), tmp_path)
    assert page.button(key="train.start").disabled
    assert page.error


@pytest.fixture
def ended(workspace: Path, tiny: Path, built: Path) -> Path:
    """A folder as a finished pretraining leaves it."""
    out = train_runs.folder() / "library-continued"
    out.mkdir()
    request = PretrainRequest(base=str(tiny), corpus=(built,), out=out)
    (out / "request.json").write_text(request.model_dump_json())
    rows: list[dict[str, Any]] = []
    for step in range(1, 9):
        rows.append({"step": step, "total_steps": 8, "loss": 5 - step / 8, "learning_rate": 1e-3, "grad_norm": 1.5})
        if step % 4 == 0:
            rows.append({"step": step, "eval_loss": 5.0, "perplexity/wiki": 90.0 - step, "perplexity/news": 80.0})
    (out / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = [{"step": step, "prompt": "Once", "text": f"{HOSTILE} {step}"} for step in (4, 8)]
    (out / "written.jsonl").write_text("".join(json.dumps(row) + "\n" for row in told))
    result = {"steps": 8, "loss": 4.0, "eval_loss": 4.4, "perplexity": {"wiki": 82.0, "news": 80.0}, "tokens": 9000}
    (out / "result.json").write_text(json.dumps(result))
    return out


def test_a_finished_one_shows_perplexities_and_what_it_writes(open_page: OpenPage, language: str, ended: Path) -> None:
    page = open_page("train", training=ended.name)
    assert not page.exception
    assert {metric.value for metric in page.metric} >= {"82.00", "80.00"}
    assert any(HOSTILE in one.value for one in page.text)  # as it is, in plain text
    assert primary(page)  # the way to a model that can be tried


def test_one_that_stopped_goes_on_with_its_own_settings(open_page: OpenPage, ended: Path) -> None:
    (ended / "result.json").unlink()
    checkpoint = ended / "checkpoint-4"
    checkpoint.mkdir()
    (checkpoint / "complete.json").write_text("{}")
    page = open_page("train", training=ended.name)
    assert not page.exception
    assert page.selectbox(key=f"train.resume.{ended.name}.checkpoint").value == "checkpoint-4"
    page.toggle(key=f"train.resume.{ended.name}.change").set_value(True).run()
    assert not page.exception and not page.error
