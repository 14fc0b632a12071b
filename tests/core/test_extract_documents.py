"""`extract run` over a folder of documents: every page read, each record knowing its page, damaged files told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.extract.export import export_run
from core.extract.readers import page_at
from core.extract.run import RunRequest, plan, run
from core.operation import Silent
from core.store import Store
from tests.core import extract_stub, papers


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with extract_stub.running(tmp_path_factory.mktemp("stub") / "log") as reference:
        yield reference


def test_a_folder_of_documents_becomes_records_with_their_pages(
    tmp_path: Path, stub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KNOWLM_STUDIO_HOME", str(tmp_path / "workspace"))
    folder = tmp_path / "in"
    folder.mkdir()
    pages = [[f"Person{page} lived here for some time and was glad of it."] for page in range(30)]
    papers.pdf(folder / "long.pdf", [*pages, []])
    papers.docx(folder / "short.docx", papers.paragraph("Ada lived in London."))
    (folder / "broken.pdf").write_bytes(b"%PDF nothing")
    (folder / "table.csv").write_text("id,text\n1,a b c\n", encoding="utf-8")
    asked = RunRequest(
        input=folder,
        task=("ner",),
        schema_ref="general-news-en",
        out=tmp_path / "out",
        model=stub,
        chunk_characters=60,
        run_anyway=True,
    )
    assert plan(asked)[:2] == ["read 3 documents", "leave out 1 tables beside them: table.csv"]
    made = run(asked, Silent())
    assert (made.rows, made.failed) == (3, 1)
    broken, long, short = Store(asked.out).results()
    assert (broken.id, broken.error is not None) == ("broken.pdf", True)
    found = {entity.text: entity.start for entity in long.entities}
    assert set(found) >= {f"Person{page}" for page in range(30)}, "no page is left unread, however many there are"
    assert [page_at(long.provenance, found[f"Person{page}"]) for page in range(30)] == list(range(1, 31))
    assert long.provenance["pages_without_text"] == [31] and long.provenance["file"] == "long.pdf"
    assert [entity.text for entity in short.entities] == ["Ada"]
    again = run(asked, Silent())
    assert again.asked == 0 and again.rows == 3
    export_run(asked.out)
    rows = [json.loads(line) for line in (asked.out / "records.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == ["broken.pdf", "long.pdf", "short.docx"]
