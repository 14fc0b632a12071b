"""Files as people have them: encodings, delimiters, headers, broken rows."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from core.errors import UserError
from core.extract.encodings import encoding_of
from core.extract.inputs import Unreadable, documents, inspect, language_of

CHINESE = "屠呦呦出生于浙江宁波，后来在中国中医研究院从事青蒿素研究。华罗庚曾在清华大学任教，一九五〇年从美国回到北京。"
TAIWAN = "臺灣的總統府位於臺北市，張先生昨天在那裡說明了經濟發展與國際貿易的問題，並且感謝各位來賓。"
FRENCH = "Élodie a été élue à l'Assemblée ; son père, né à Besançon, était garçon de café là-bas. Où ça ? Déjà noté."
ENGLISH = "Marie Curie was born in Warsaw, and later taught physics in Paris."


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (CHINESE, "utf-8"),
        (CHINESE, "utf-8-sig"),
        (CHINESE, "gb18030"),
        (CHINESE, "utf-16"),
        (CHINESE, "utf-32"),
        (TAIWAN, "big5"),
        (FRENCH, "cp1252"),
        (FRENCH, "utf-8"),
        (ENGLISH, "utf-16-le"),
        ("彼は東京で生まれました。そして大学で物理を学びました。", "shift_jis"),
        ("그는 서울에서 태어났고 대학에서 물리학을 공부했습니다.", "euc_kr"),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "txt"])
def test_the_encoding_is_found(tmp_path: Path, text: str, encoding: str, kind: str) -> None:
    cell = f'"{text}"' if kind == "csv" else text
    path = written(tmp_path / f"in.{kind}", f"text\n{cell}\n" if kind == "csv" else cell + "\n", encoding)
    assert [made.text for made in documents(path, "text")] == [text]


def test_a_short_gb18030_file_and_one_with_rare_characters_are_read(tmp_path: Path) -> None:
    assert encoding_of(written(tmp_path / "a.txt", "编号,句子\n1,你好\n", "gb18030")) == "gb18030"
    rare = "镕基、喆、堃、犇等字在人名里常见，程序要能读出来，也要写得回去。"
    assert encoding_of(written(tmp_path / "b.txt", rare, "gb18030")) == "gb18030"


def test_utf8_with_a_broken_byte_stays_utf8(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes(CHINESE.encode() + b"\xff\n" + CHINESE.encode() + b"\n")
    first = next(documents(path))
    assert first.text == CHINESE + "\ufffd"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    lines = ["id", "text", "note"], ["1", "One, two and three.", "a"], ["2", "Four; five, six.", "b"]
    body = "\n".join(delimiter.join(f'"{cell}"' if delimiter in cell else cell for cell in line) for line in lines)
    info = inspect(written(tmp_path / "in.csv", body))
    assert (info.delimiter, [column.name for column in info.columns]) == (delimiter, ["id", "text", "note"])
    assert info.text_column == "text"


def test_a_file_without_a_header_gets_numbered_columns(tmp_path: Path) -> None:
    path = written(tmp_path / "in.csv", f'1,"{ENGLISH}"\n2,"Another sentence stands here."\n')
    info = inspect(path)
    assert (info.header, [column.name for column in info.columns]) == (False, ["column_1", "column_2"])
    assert [made.text for made in documents(path, "column_2")] == [ENGLISH, "Another sentence stands here."]


def test_a_header_that_looks_odd_counts_if_it_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "in.csv", "What did the person say.,2020\nSomething was said here.,1\n")
    assert [made.text for made in documents(path, "What did the person say.")] == ["Something was said here."]


def test_columns_of_the_same_name_stay_apart(tmp_path: Path) -> None:
    info = inspect(written(tmp_path / "in.csv", "text,text,text\na b c d e f,g h i j k,l m n o p\n"))
    assert len({column.name for column in info.columns}) == 3 or not info.header


def test_a_wrong_column_names_those_there_are(tmp_path: Path) -> None:
    path = written(tmp_path / "in.csv", "id,sentence\n1,Some words stand here.\n")
    with pytest.raises(UserError, match="id, sentence"):
        list(documents(path, "text"))
    with pytest.raises(UserError, match="id, sentence"):
        list(documents(path, "sentence", "number"))


def test_a_column_of_numbers_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "in.csv", "price,text\n1.5,Some words stand here.\n-3,More words stand here.\n")
    with pytest.raises(UserError, match="numbers, not text"):
        list(documents(path, "price"))
    assert inspect(path).columns[0].numeric


def test_an_empty_file_and_one_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is empty"):
        inspect(written(tmp_path / "in.csv", ""))
    with pytest.raises(UserError, match="kind"):
        inspect(written(tmp_path / "in.odt", "x"))
    with pytest.raises(UserError, match="no file"):
        inspect(tmp_path / "missing.csv")
    with pytest.raises(UserError, match="not an Excel workbook"):
        inspect(written(tmp_path / "in.xlsx", "not one"))


def workbook(path: Path, *, chart_first: bool = False) -> Path:
    import openpyxl
    from openpyxl.chart import BarChart

    book = openpyxl.Workbook()
    for number in range(200):
        book.active.append(["text"] if not number else [f"Some words stand in row {number}."])
    if chart_first:
        book.create_chartsheet(index=0).add_chart(BarChart())
    book.save(path)
    return path


def rewritten(path: Path, member: str, keep: float) -> Path:
    """The workbook with one of its parts cut short."""
    with zipfile.ZipFile(path) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, content in parts.items():
            new.writestr(name, content[: int(len(content) * keep)] if name.endswith(member) else content)
    return path


def test_a_damaged_workbook_is_told_not_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="breaks off after line 100"):
        list(documents(rewritten(workbook(tmp_path / "cut.xlsx"), "sheet1.xml", 0.5)))
    with pytest.raises(UserError, match="breaks off after line 0"):
        inspect(rewritten(workbook(tmp_path / "short.xlsx"), "sheet1.xml", 0.01))
    with pytest.raises(UserError, match="not an Excel workbook"):
        inspect(rewritten(workbook(tmp_path / "style.xlsx"), "styles.xml", 0.5))


def test_a_sheet_that_is_a_chart_is_passed_over(tmp_path: Path) -> None:
    path = workbook(tmp_path / "chart.xlsx", chart_first=True)
    assert inspect(path).sheets == ("Sheet",)
    assert len(list(documents(path))) == 199


def test_ragged_rows_are_errors_and_the_others_go_on(tmp_path: Path) -> None:
    path = written(
        tmp_path / "in.csv", "id,text,x\n1,fine words here,\n2\n3,an, unquoted, comma, here\n4,also fine,,,\n"
    )
    made = list(documents(path, "text"))
    assert [isinstance(one, Unreadable) for one in made] == [False, True, True, False]
    assert "Line 4 has 5 cells" in str(made[2].error)  # type: ignore[attr-defined]


def test_a_quote_that_is_never_closed_does_not_take_the_file_down(tmp_path: Path) -> None:
    lines = ["id,text", '1,"never closed', *(f"{number},{'word ' * 40}" for number in range(60_000))]
    made = list(documents(written(tmp_path / "in.csv", "\n".join(lines)), "text"))
    assert isinstance(made[0], Unreadable)


def test_nul_bytes_crlf_and_a_megabyte_in_one_cell_are_read(tmp_path: Path) -> None:
    big = "word " * 210_000
    path = written(tmp_path / "in.csv", f'id,text\r\n1,"A\0 B\r\nC"\r\n2,"{big}"\r\n')
    made = list(documents(path, "text"))
    assert (made[0].text, len(made[1].text)) == ("A\0 B\r\nC", len(big))


def test_json_lines_with_a_broken_line_and_other_values(tmp_path: Path) -> None:
    path = written(
        tmp_path / "in.jsonl", '{"text": "One."}\n\n{"text": \n{"text": 5}\n{"text": ["a"]}\n{"text": null}\n'
    )
    made = list(documents(path, "text"))
    assert [one.text for one in made] == ["One.", "", "5", '["a"]', ""]
    assert made[1].error.values["line"] == "3"  # type: ignore[attr-defined]


def test_a_json_list_is_streamed_whatever_its_size(tmp_path: Path) -> None:
    rows = [{"text": f"Sentence number {number} is here. " * 20, "n": {"deep": [number]}} for number in range(2000)]
    path = written(tmp_path / "in.json", json.dumps(rows, ensure_ascii=False, indent=1))
    assert [made.text for made in documents(path, "text")] == [row["text"] for row in rows]
    cut = written(tmp_path / "cut.json", path.read_text()[:100_000])
    assert isinstance(list(documents(cut, "text"))[-1], Unreadable)


def test_json_lines_in_a_file_called_json_are_read(tmp_path: Path) -> None:
    path = written(tmp_path / "in.json", '{"text": "One sentence."}\n{"text": "Two sentences."}\n')
    assert len(list(documents(path, "text"))) == 2
    with pytest.raises(UserError, match="neither"):
        inspect(written(tmp_path / "odd.json", "{\n nothing like it"))


def test_workbooks_and_their_sheets_are_read(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["编号", "句子"])
    book.active.append([1, CHINESE])
    book.active.append([None, None])
    book.active.append([2, "第二句话在这里。"])
    book.create_sheet("other").append(["nothing", "here"])
    book.save(tmp_path / "in.xlsx")
    info = inspect(tmp_path / "in.xlsx")
    assert (info.sheets, info.text_column) == (("Sheet", "other"), "句子")
    assert [made.text for made in documents(tmp_path / "in.xlsx", "句子", "编号")] == [CHINESE, "第二句话在这里。"]
    with pytest.raises(UserError, match="no sheet"):
        inspect(tmp_path / "in.xlsx", "missing")


def test_ids_are_distinct_and_stable(tmp_path: Path) -> None:
    path = written(tmp_path / "in.csv", "id,text\na,Some words.\na,More words.\n,No id here.\n")
    assert [made.id for made in documents(path, "text", "id")] == ["a", "a#2", "3"]
    assert [made.id for made in documents(path, "text")] == ["1", "2", "3"]


def test_memory_stays_flat(tmp_path: Path) -> None:
    import tracemalloc

    path = written(
        tmp_path / "in.csv", "text\n" + "\n".join(f"Sentence {number} of many." for number in range(200_000))
    )
    tracemalloc.start()
    count = sum(1 for _ in documents(path, "text"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 200_000
    assert peak < 8 << 20


@pytest.mark.parametrize(
    ("texts", "language"),
    [
        ([ENGLISH, "She won the Nobel Prize twice."], "en"),
        ([CHINESE], "zh"),
        (["华为在深圳发布了Mate 60 Pro和MateBook X Pro两款产品。"], "zh"),
        ([FRENCH], "fr"),
        (["Der Hund läuft über die Straße und bellt die Leute an, die nach Hause gehen."], "de"),
        (["彼は東京で生まれました。"], "ja"),
        (["그는 서울에서 태어났습니다."], "ko"),
        (["Собака бежит по улице и лает на прохожих, идущих домой после работы."], "ru"),
        (["Paris", "Rom"], None),
        (["12", "3.5"], None),
        ([], None),
    ],
)
def test_languages_are_told_where_there_is_enough_to_tell(texts: list[str], language: str | None) -> None:
    assert language_of(texts) == language


def test_the_samples_are_read() -> None:
    samples = Path(__file__).resolve().parents[2] / "assets" / "samples"
    for name, column, language in (("people.csv", "sentence", "en"), ("people_zh.csv", "句子", "zh")):
        info = inspect(samples / name)
        assert info.text_column == column
        assert language_of(made.text for made in documents(samples / name, column)) == language


def test_ids_are_distinct_whatever_the_column_holds(tmp_path: Path) -> None:
    path = written(tmp_path / "in.csv", "id,text\na,one two three\na,four five six\na#2,seven eight\na#2,nine ten\n")
    assert [one.id for one in documents(path, "text", "id")] == ["a", "a#2", "a#2#3", "a#2#4"]
