"""The Extract page: what it says of a file, a schema and a model, and what a real run shows, without a browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core import paths, settings
from core.extract.run import RunRequest
from core.jobs import store
from core.models import Card, write_card
from core.store import Store
from tests.core import extract_stub
from tests.ui.conftest import OpenPage, texts
from ui.parts import runs
from ui.parts.records_index import Query, RecordsIndex
from ui.parts.source_file import key_of, sample

SENTENCES = ["Ada wrote notes.", "Bob wrote PROSE.", *(f"Name{n} wrote {n} notes." for n in range(18))]
WORDS = {
    "en": {
        "title": "Extract",
        "sample": "English sample",
        "try": "Try 10 rows",
        "anyway": "Try 10 rows anyway",
        "refused": "does not read Chinese",
        "numbers": "holds numbers, not text",
        "empty": "is empty",
        "no_rows": "no rows under the header",
        "numbered": "no header",
        "gone": "no longer there",
        "done": "done",
        "continue": "Continue",
        "all": "Run all, 10 rows more",
        "reason": "could not be understood",
    },
    "zh": {
        "title": "抽取",
        "sample": "英文示例",
        "try": "先试 10 行",
        "anyway": "仍要试 10 行",
        "refused": "读不了中文",
        "numbers": "数字",
        "empty": "空",
        "no_rows": "没有任何数据行",
        "numbered": "没有表头",
        "gone": "已不存在",
        "done": "完成",
        "continue": "继续",
        "all": "全部运行，还有 10 行",
        "reason": "无法理解",
    },
}


@pytest.fixture
def english_model(workspace: Path) -> None:
    """A model that declares English. It is never loaded: only its card is read."""
    folder = paths.models() / "reader"
    folder.mkdir(parents=True)
    (folder / "reader.gguf").write_bytes(b"GGUF not really")
    write_card(folder, Card(title="Reader", languages=("en",), license="Apache-2.0"))


@pytest.fixture
def server(workspace: Path, tmp_path: Path) -> Iterator[str]:
    """A loopback server that finds each text's first name; added in the settings as a person would."""
    with extract_stub.running(tmp_path / "asked.log") as ref:
        url, model = ref.split("#")
        endpoint = settings.Endpoint(name="Stub", url=url, model=model)
        settings.write(settings.read().model_copy(update={"endpoints": (endpoint,)}))
        yield ref


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "notes.csv"
    rows = "\n".join(f'{number},"{text}"' for number, text in enumerate(SENTENCES, start=1))
    path.write_text(f"number,sentence\n{rows}\n", encoding="utf-8")
    return path


def with_file(page: AppTest, path: Path) -> AppTest:
    page.session_state["extract.file"] = str(path)
    page.run()
    assert not page.exception, page.exception
    return page


def run_to_end(ref: str, path: Path, **options: object) -> runs.Run:
    request = RunRequest(
        input=path,
        text_column="sentence",
        schema_ref="people-and-organisations-en",
        out=runs.new_folder(path.name),
        model=ref,
        **options,  # type: ignore[arg-type]
    )
    job = store.wait(store.submit(request).id, timeout=90)
    assert job.state == "done", job.error
    found = runs.find(request.out.name)
    assert found is not None
    return found


def labels(page: AppTest) -> list[str]:
    return [button.label for button in page.button]


def primary(page: AppTest) -> list[str]:
    return [button.label for button in page.button if button.proto.type == "primary"]


def test_without_a_model_the_starter_is_offered(open_page: OpenPage, language: str) -> None:
    page = open_page("extract")
    assert page.title[0].value == WORDS[language]["title"]
    assert page.button(key="starter.get")
    assert WORDS[language]["sample"] in labels(page)


def test_the_sample_is_one_click_away_and_ten_rows_are_the_main_button(
    open_page: OpenPage, english_model: None, language: str
) -> None:
    page = open_page("extract")
    page.button(key="extract.sample.en").click().run()
    assert not page.exception
    assert page.selectbox(key=key_of(sample("en"), "column")).value == "sentence"
    assert "UTF-8" in texts(page)
    assert primary(page) == [WORDS[language]["try"]]
    assert not page.button(key="extract.try").disabled


def test_a_text_in_another_language_brings_what_would_work_instead(
    open_page: OpenPage, english_model: None, language: str
) -> None:
    page = with_file(open_page("extract"), sample("zh"))
    assert WORDS[language]["refused"] in page.warning[0].value.replace("\\", "")
    assert primary(page) == []
    assert page.button(key="extract.try").label == WORDS[language]["anyway"]
    assert any(str(button.key).startswith("extract.download.") for button in page.button), "no model is offered"
    assert [one.key for one in page.text_input if "add.endpoint.url" in str(one.key)]


def test_a_chinese_table_in_gb18030_is_read(open_page: OpenPage, english_model: None, tmp_path: Path) -> None:
    path = tmp_path / "chinese.csv"
    path.write_bytes("编号,句子\n1,鲁迅生于绍兴，原名周树人。\n2,老舍生于北京，写了《茶馆》。\n".encode("gb18030"))
    page = with_file(open_page("extract"), path)
    assert "GB18030" in texts(page)
    assert page.selectbox(key=key_of(path, "column")).value == "句子"
    assert "鲁迅" in str(page.dataframe[0].value)


BAD = {
    "a column of numbers": (b"a,b\n1,2\n3,4\n", "numbers"),
    "an empty file": (b"", "empty"),
    "a header alone": (b"id,sentence\n", "no_rows"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_can_not_be_read_is_said_with_a_remedy(
    open_page: OpenPage, english_model: None, tmp_path: Path, language: str, name: str
) -> None:
    content, said = BAD[name]
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    page = with_file(open_page("extract"), path)
    if name == "a column of numbers":
        page.selectbox(key=key_of(path, "column")).select("a").run()
    assert WORDS[language][said] in texts(page)
    assert page.button(key="extract.try").disabled


@pytest.mark.parametrize(
    "content",
    [
        b"text\n" + b"word " * 200_000 + b"\nshort text here\n",
        b"text\nAda\x00 wrote notes here\n",
        "text\nAda wrote notes here\n".encode("utf-16"),
    ],
    ids=["a megabyte in one cell", "a NUL", "UTF-16"],
)
def test_odd_cells_do_not_stop_the_page(
    open_page: OpenPage, english_model: None, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "odd.csv"
    path.write_bytes(content)
    page = with_file(open_page("extract"), path)
    assert not page.error
    assert not page.button(key="extract.try").disabled


def test_a_table_without_a_header_is_numbered(
    open_page: OpenPage, english_model: None, tmp_path: Path, language: str
) -> None:
    path = tmp_path / "bare.csv"
    path.write_text("1,Ada Lovelace wrote notes on the engine.\n2,Alan Turing broke a code.\n", encoding="utf-8")
    page = with_file(open_page("extract"), path)
    assert WORDS[language]["numbered"] in texts(page)
    assert page.selectbox(key=key_of(path, "column")).value == "column_2"


def test_own_schemas_stand_in_the_list_and_broken_ones_do_not_stop_it(open_page: OpenPage, english_model: None) -> None:
    mine = paths.schemas() / "birds.json"
    mine.write_text(json.dumps({"title": "Birds", "entities": ["species"]}), encoding="utf-8")
    (paths.schemas() / "broken.json").write_text("{", encoding="utf-8")
    page = open_page("extract")
    chooser = page.selectbox(key="extract.schema.en")
    chooser.select(str(mine)).run()
    assert not page.exception
    assert [one for one in page.selectbox(key="extract.schema.en").options if one.startswith("Birds")]
    assert not [one for one in page.selectbox(key="extract.schema.en").options if "broken" in one]


def test_trying_ten_rows_starts_a_run_that_the_address_names(open_page: OpenPage, server: str, table: Path) -> None:
    page = with_file(open_page("extract"), table)
    page.button(key="extract.try").click().run()
    assert not page.exception, page.exception
    (run,) = runs.all_runs()
    assert run.folder.name in page.query_params["run"]
    assert run.limit == 10
    assert store.wait(run.job.id, timeout=90).state == "done"
    assert Store(run.folder).counts().rows == 10


def test_run_all_goes_on_in_the_same_folder_and_asks_no_row_twice(
    open_page: OpenPage, server: str, table: Path, tmp_path: Path, language: str
) -> None:
    run = run_to_end(server, table, limit=10)
    page = open_page("extract", run=run.folder.name)
    assert primary(page) == [WORDS[language]["all"]]
    page.button(key=f"run.all.{run.job.id}").click().run()
    (again,) = runs.all_runs()
    assert store.wait(again.job.id, timeout=90).state == "done"
    assert Store(run.folder).counts().rows == len(SENTENCES)
    asked = extract_stub.asked(tmp_path / "asked.log")
    assert sorted(asked) == sorted(set(asked)), "a row was asked twice"


def test_a_finished_run_shows_its_records_and_its_failures(
    open_page: OpenPage, server: str, table: Path, language: str
) -> None:
    run = run_to_end(server, table)
    page = open_page("extract", run=run.folder.name)
    assert WORDS[language]["done"] in str(page.main)
    shown = page.dataframe[0].value
    assert "Ada" in list(shown["one"])
    assert len(shown) == len(SENTENCES) - 1
    page.session_state[f"run.kind.{run.folder.name}"] = "failure"
    page.run()
    assert not page.exception, page.exception
    assert WORDS[language]["reason"] in str(page.dataframe[0].value["problem"][0])
    assert page.button(key=f"run.again.{run.job.id}")


def test_the_records_are_filtered_and_sorted_over_the_whole_run(open_page: OpenPage, server: str, table: Path) -> None:
    run = run_to_end(server, table)
    page = open_page("extract", run=run.folder.name)
    page.text_input(key=f"records.{run.folder.name}.entity.words").set_value("Name1").run()
    found = list(page.dataframe[0].value["one"])
    assert found == ["Name1", *(f"Name{n}" for n in range(10, 18))]
    page.text_input(key=f"records.{run.folder.name}.entity.words").set_value("nowhere").run()
    assert not page.dataframe


def test_a_run_whose_model_can_not_be_loaded_says_why_and_can_go_on(
    open_page: OpenPage, english_model: None, table: Path, language: str
) -> None:
    page = with_file(open_page("extract"), table)
    page.button(key="extract.try").click().run()
    (run,) = runs.all_runs()
    assert store.wait(run.job.id, timeout=90).state == "failed"
    page = open_page("extract", run=run.folder.name)
    assert page.error
    assert primary(page) == [WORDS[language]["continue"]]


def test_a_run_that_is_gone_is_told_calmly(open_page: OpenPage, english_model: None, language: str) -> None:
    page = open_page("extract", run="20200101-000000-nothing")
    assert WORDS[language]["gone"] in page.info[0].value
    assert page.button(key="extract.sample.en")


def test_changing_the_setup_starts_from_what_the_run_was_given(open_page: OpenPage, server: str, table: Path) -> None:
    run = run_to_end(server, table, limit=10, id_column="number")
    page = open_page("extract", run=run.folder.name)
    page.button(key="extract.back").click().run()
    assert not page.exception, page.exception
    assert page.selectbox(key=key_of(table, "column")).value == "sentence"
    assert page.selectbox(key=key_of(table, "id_column")).value == "number"
    assert page.selectbox(key="extract.model").value == server


def test_a_run_of_a_server_is_told_in_calls_tokens_time_and_money_before_it_starts(
    open_page: OpenPage, server: str, table: Path
) -> None:
    run_to_end(server, table, limit=10, task=("ner", "re"))  # as the page has it from the start
    page = with_file(open_page("extract"), table)
    told = "\n".join(caption.value for caption in page.caption)
    assert "About 40 calls" in told or "约 40 次调用" in told, told
    assert "as fast as your last run" in told or "上次运行的速度" in told
    page.number_input(key="extract.manner.passes").set_value(3)
    page.number_input(key="extract.manner.price_prompt").set_value(1000.0)
    page.run()
    assert not page.exception, page.exception
    told = "\n".join(caption.value for caption in page.caption)
    assert "About 120 calls" in told or "约 120 次调用" in told
    assert "at the given prices" in told or "按所填价格" in told


def test_records_of_several_passes_show_their_confidence(server: str, table: Path) -> None:
    run = run_to_end(server, table, passes=2, limit=4)
    index = RecordsIndex(run.folder)
    index.refresh()
    assert index.judged("entity")
    assert {row.sure for row in index.page(Query("entity", order="sure"), 1)} == {1.0}
    assert (run.folder / "joined.csv").exists()
