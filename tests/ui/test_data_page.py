"""The Data page: sources with their preview, a build, and the ledger whose numbers open what was dropped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core import paths
from core.jobs import store
from core.launchers.corpus import BuildRequest, Source
from core.operation import Silent
from core.paths import ASSETS
from tests.ui.conftest import OpenPage, texts
from tests.ui.test_train_page import lay_out_llama
from train.corpus import build

HOSTILE = "<img src=x onerror=alert(1)> **bold** [link](http://x)"
SAMPLE = ASSETS / "samples" / "corpus"


@pytest.fixture
def tiny(workspace: Path) -> Path:
    return lay_out_llama(paths.models() / "tiny")


def with_sample(open_page: OpenPage) -> AppTest:
    page = open_page("data")
    page.button(key="data.sample").click().run()
    assert not page.exception, page.exception
    return page


def built(name: str, *sources: Source, tokenizer: Path) -> Path:
    out = paths.corpora() / name
    request = BuildRequest(out=out, sources=sources, tokenizer=str(tokenizer / "tokenizer.json"), length=256, workers=1)
    build.run(request, Silent())
    return out


def test_without_sources_nothing_can_start(open_page: OpenPage, language: str) -> None:
    page = open_page("data")
    assert {"en": "Choose sources", "zh": "选择来源"}[language] in texts(page)
    assert page.button(key="data.start").disabled
    assert [button.key for button in page.button if button.proto.type == "primary"] == ["data.start"]


def test_the_sample_is_one_click_from_a_preview(open_page: OpenPage, language: str, tiny: Path) -> None:
    page = with_sample(open_page)
    said = texts(page)
    assert "Why bread rises" in "".join(element.value for element in page.get("text") if hasattr(element, "value"))
    assert {"en": "fields: title, content", "zh": "字段：title、content"}[language].split(",")[0][:4] in said
    assert [field.value for field in page.text_input if str(field.key).endswith(".text")] == [
        "{title?}\\n{content}"
    ] * 2
    assert not page.button(key="data.start").disabled


def test_a_text_that_names_no_field_is_said_and_nothing_starts(open_page: OpenPage, tiny: Path) -> None:
    page = with_sample(open_page)
    field = next(field for field in page.text_input if str(field.key).endswith(".text"))
    field.set_value("no field").run()
    assert not page.exception
    assert "names no field" in texts(page)
    assert page.button(key="data.start").disabled


def test_sources_of_one_name_are_refused(open_page: OpenPage, tiny: Path) -> None:
    page = with_sample(open_page)
    names = [field for field in page.text_input if str(field.key).endswith(".name")]
    names[1].set_value("sample-en").run()
    assert "a name of its own" in texts(page)
    assert page.button(key="data.start").disabled


def test_a_source_can_be_taken_out_again(open_page: OpenPage, tiny: Path) -> None:
    page = with_sample(open_page)
    next(button for button in page.button if str(button.key).endswith(".drop")).click().run()
    names = [field.value for field in page.text_input if str(field.key).endswith(".name")]
    assert names == ["sample-zh"]


def test_a_build_is_started_as_a_job(open_page: OpenPage, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[BuildRequest] = []
    monkeypatch.setattr(store, "submit", asked.append)
    page = with_sample(open_page)
    page.button(key="data.start").click().run()
    (request,) = asked
    assert [source.name for source in request.sources] == ["sample-en", "sample-zh"]
    assert (request.tokenizer, request.out) == ("tiny", paths.corpora() / "sample-en")


def test_a_finished_corpus_shows_where_its_bytes_went(open_page: OpenPage, language: str, tiny: Path) -> None:
    sources = (
        Source(name=name, path=(str(SAMPLE / f"{name}.jsonl"),), text="{title}\n{content}") for name in ("en", "zh")
    )
    built("both", *sources, tokenizer=tiny)
    page = open_page("data", corpus="both")
    said = texts(page)
    assert {"en": "Every byte is accounted for", "zh": "每个字节都有去处"}[language] in said
    table = page.dataframe[0].value
    assert {"en": "left out", "zh": "剔除"}[language] in set(table["outcome"])
    assert table["documents"].sum() == 24


def test_dropped_texts_of_strangers_are_shown_as_they_are(open_page: OpenPage, tiny: Path, tmp_path: Path) -> None:
    kept = json.loads((SAMPLE / "en.jsonl").read_text().splitlines()[0])["content"]
    file = tmp_path / "<b>x.txt"
    file.write_text(f"{kept}\n{HOSTILE}\n")
    built("strange", Source(name="s", path=(str(file),)), tokenizer=tiny)
    page = open_page("data", corpus="strange")
    assert HOSTILE not in "".join(str(element.value) for element in page.markdown)
    assert "\\<b\\>x" in texts(page)


def test_a_corpus_that_is_gone_and_one_that_is_not_finished_are_said(open_page: OpenPage, workspace: Path) -> None:
    assert "no longer there" in texts(open_page("data", corpus="gone"))
    half = paths.corpora() / "half"
    half.mkdir()
    (half / "build.json").write_text("{}")
    assert "not finished" in texts(open_page("data", corpus="half"))
