"""Documents of every format as text with its structure, and files that are broken, locked or traps."""

from __future__ import annotations

import time
import zipfile
from pathlib import Path

import pytest

from core.errors import UserError
from core.extract import readers
from core.extract.readers import Paper
from tests.core import papers

STYLES = (
    '<w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style>'
    '<w:style w:styleId="own"><w:name w:val="My chapter"/><w:basedOn w:val="berschrift1"/></w:style>'
)


def headings(paper: Paper) -> list[tuple[str, int]]:
    return [(paper.text[one.start : one.end], one.level) for one in paper.headings]


def page_of(paper: Paper, words: str) -> int | None:
    assert paper.text.count(words) == 1
    return readers.page_at(paper.facts(), paper.text.index(words))


def test_a_pdf_is_read_as_running_text_with_its_pages_and_headings(tmp_path: Path) -> None:
    first = ["Annual Report", "1 Early life", "Marie Curie was born in Warsaw and later spoke at an inter-"]
    first += ["national congress, where a well-known man", "heard her.", "Page 1"]
    second = [
        "Annual Report",
        "which goes on here, over the page, for as long as lines are",
        "long. It ends.",
        "Page 2",
    ]
    third = ["Annual Report", "居里夫人一八六七年出生于波兰华沙，后来到巴黎大学学习物理学并在那里", "任教。", "Page 3"]
    path = papers.pdf(tmp_path / "a.pdf", [first, second, [], third], [("1 Early life", 0)])
    paper = readers.read(path)
    assert "spoke at an international congress, where a well-known man heard her." in paper.text
    assert "在那里任教。" in paper.text
    assert "Annual Report" not in paper.text and "Page" not in paper.text, "headers and footers are no text"
    assert headings(paper) == [("1 Early life", 1)]
    assert [page_of(paper, words) for words in ("Warsaw", "over the page", "居里夫人")] == [1, 2, 4]
    assert paper.facts()["pages_without_text"] == [3]
    assert readers.heading_at(paper.facts(), paper.text, paper.text.index("Warsaw")) == "1 Early life"


def test_a_word_document_is_read_with_headings_lists_and_tables(tmp_path: Path) -> None:
    cell = "<w:tc>{}</w:tc>".format
    row = "<w:tr>{}</w:tr>".format
    table = row(cell(papers.paragraph("Name")) + cell(papers.paragraph("Born")))
    table += row(cell(papers.paragraph("Ada") + papers.paragraph("Lovelace")) + cell(papers.paragraph("1815")))
    changed = "<w:p><w:r><w:t>kept</w:t></w:r><w:del><w:r><w:t>gone</w:t></w:r></w:del>"
    changed += "<w:r><w:rPr><w:vanish/></w:rPr><w:t>hidden</w:t></w:r></w:p>"
    body = papers.paragraph("Über uns", "berschrift1") + papers.paragraph("第二章", "own") + papers.paragraph("A < B.")
    body += papers.paragraph("one", listed=True) + papers.paragraph("two", listed=True) + f"<w:tbl>{table}</w:tbl>"
    paper = readers.read(papers.docx(tmp_path / "a.docx", body + changed, STYLES))
    assert paper.text == "Über uns\n\n第二章\n\nA < B.\n\n- one\n- two\n\nName | Born\nAda Lovelace | 1815\n\nkept"
    assert headings(paper) == [("Über uns", 1), ("第二章", 1)]


def test_html_is_read_as_a_browser_shows_it(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_bytes(
        '<html><head><meta charset="gbk"><title>no</title><style>p{}</style></head><body><h2>标题  一</h2>'
        "<p>Some <b>bold</b>\n text<script>alert(1)</script>.<p>Second<br>line &amp; more<div hidden>no</div>"
        "<ul><li>one<li>two</ul><table><tr><th>a<th>b<tr><td>1<td><p>2</table><pre>x\n  y</pre></body>".encode("gbk")
    )
    paper = readers.read(path)
    assert paper.text == ("标题 一\n\nSome bold text.\n\nSecond\nline & more\n\n- one\n- two\n\na | b\n1 | 2\n\nx\n  y")
    assert headings(paper) == [("标题 一", 2)]


def test_markdown_is_read_without_its_signs(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text(
        "---\ntitle: x\n---\n# The *title*\n\nA [link](http://x) and `code`\ngoes on.\n\n- one\n- two\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n<p>seen <script>not</script></p>\n",
        encoding="utf-8",
    )
    paper = readers.read(path)
    assert paper.text == "The title\n\nA link and code\ngoes on.\n\n- one\n- two\n\na | b\n1 | 2\n\nseen"
    assert headings(paper) == [("The title", 1)]


def test_plain_text_stays_to_the_letter_and_tells_its_chapters(tmp_path: Path) -> None:
    text = "第一章 开始\r\n\r\n屠呦呦。\r\n  1.1 Scope of it\r\n1.1 is a number.\r\n"
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode("gb18030"))
    paper = readers.read(path)
    assert paper.text == text
    assert headings(paper) == [("第一章 开始", 1), ("1.1 Scope of it", 2)]


def test_a_pdf_of_five_hundred_pages_is_read_whole(tmp_path: Path) -> None:
    lines = [f"Line {number} of many stands here and says something about a town." for number in range(3)]
    path = papers.pdf(tmp_path / "long.pdf", [[f"This page is number{n}word.", *lines] for n in range(500)])
    paper = readers.read(path)
    assert len(paper.pages) == 500 and page_of(paper, "number499word") == 500


def test_locked_pdfs_are_told_and_those_locked_against_changes_only_are_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="locked with a password"):
        readers.read(papers.pdf(tmp_path / "locked.pdf", [["Secret words."]], password="open sesame"))
    assert readers.read(papers.pdf(tmp_path / "open.pdf", [["Plain words."]], password="")).text == "Plain words."


def test_pictures_of_pages_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pictures of pages \(2\)"):
        readers.read(papers.pdf(tmp_path / "scan.pdf", [[], []]))


def bomb(path: Path) -> Path:
    """A gigabyte of spaces in a megabyte, as the document's text."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package, package.open("word/document.xml", "w") as part:
        for _ in range(64):
            part.write(b" " * (1 << 20))
    return path


def test_a_package_that_would_unpack_to_very_much_is_not_opened(tmp_path: Path) -> None:
    began = time.process_time()
    path = bomb(tmp_path / "bomb.docx")
    made = time.process_time() - began
    with pytest.raises(UserError, match="implausible size"):
        readers.read(path)
    assert time.process_time() - began < 2 * made + 1


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.pdf", b"%PDF-1.7 and nothing else", "no PDF, or it is damaged"),
        ("a.pdf", b"", "no PDF, or it is damaged"),
        ("a.docx", b"PK\x03\x04 and nothing else", "no Word document, or it is damaged"),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1rest", "locked with a password, or in Word's old format"),
        ("a.md", b" \n ", "no text in it"),
        ("a.html", b"<script>alert(1)</script>", "no text in it"),
        ("a.html", b"<div>" * 20_000 + b"x", "nests its elements"),
        ("a.txt", bytes(range(256)) * 20 + b"\0" * 99, "not a text file"),
    ],
)
def test_broken_files_are_told_in_words(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=why):
        readers.read(tmp_path / name)


def test_xml_that_defines_entities_is_not_read(tmp_path: Path) -> None:
    bad = '<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;&x;">]>'
    with pytest.raises(UserError, match="no Word document"):
        readers.read(papers.docx(tmp_path / "a.docx", papers.paragraph("x"), doctype=bad))


def test_a_page_that_is_broken_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    path = papers.pdf(tmp_path / "a.pdf", [["First words."], ["Second words."]])
    raw = path.read_bytes()
    hexed = "Second words.".encode("utf-16-be").hex().encode()
    assert raw.count(hexed) == 1
    path.write_bytes(raw.replace(b"<" + hexed + b"> Tj", b"(" + b"\\" * (len(hexed) + 4)))
    paper = readers.read(path)
    assert paper.text == "First words."
    assert paper.facts().get("pages_unread", paper.facts().get("pages_without_text")) == [2]
