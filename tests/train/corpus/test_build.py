"""Whole builds: where every byte goes, the same bytes after kills and in any order, and what goes wrong is said."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from core.errors import UserError
from core.launchers.corpus import DROPPED, LEDGER, TOKENS, WORK, BuildRequest, LookRequest, Source, dropped, ledger
from core.operation import Silent
from tests.conftest import PROJECT
from train.corpus import build, clean, executor, look, pack_part, parts, tokens
from train.corpus.store import Corpus
from train.corpus.tokens import open_tokenizer

VERBS = ("found", "wrote", "sold", "carried", "mended", "painted")
PLACES = ("in the old harbour", "at the end of the road", "near the mill", "on the hill", "behind the station")
ZH_VERBS = ("修好了", "卖掉了", "画出了", "找到了", "写下了")
ZH_PLACES = ("在老码头", "在山坡上", "在车站后面", "在磨坊旁边", "在路的尽头")
NEAR = "Of all that was said on that evening, one sentence about the weather in the harbour is remembered to this day. "


def english(chance: random.Random, sentences: int) -> str:
    made = (
        f"The {chance.choice(('woman', 'man', 'child', 'teacher'))} with the {chance.randrange(10**4)} that was known "
        f"to all of them {chance.choice(VERBS)} it {chance.choice(PLACES)}, and then went on to the next."
        for _ in range(sentences)
    )
    return " ".join(made)


def chinese(chance: random.Random, sentences: int) -> str:
    made = (
        f"那个{chance.choice('老年青小')}人{chance.choice(ZH_PLACES)}{chance.choice(ZH_VERBS)}"
        f"第{chance.choice('一二三四五六七八九')}{chance.choice('十百千')}{chance.choice('一二三四五')}个，后来又回到了家里。"
        for _ in range(sentences)
    )
    return "".join(made)


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> str:
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save_pretrained(folder)
    return str(folder / "tokenizer.json")


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Source, ...]:
    """Three sources with all that may be in one: copies within and across, broken rows, tables, blank lines."""
    chance = random.Random(11)
    folder = tmp_path / "texts"
    folder.mkdir()
    first = [{"title": f"T{n}", "content": english(chance, 4)} for n in range(60)]
    rows = [json.dumps(row) for row in (*first, first[3], first[5])]
    rows[20:20] = ["{broken", "", '{"title": "no content"}', json.dumps({"title": "t", "content": "12.3 " * 60})]
    near = {"title": "T", "content": f"{NEAR * 3}{english(chance, 6)}"}
    rows += [json.dumps(near), json.dumps(near | {"content": near["content"] + " Indeed."})]
    (folder / "news.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    lines = [chinese(chance, 5) for _ in range(40)]
    (folder / "zh.txt.gz").write_bytes(gzip.compress("\n".join([*lines, "太短", lines[7]]).encode()))
    other = [first[9]["title"] + " " + first[9]["content"], english(chance, 5), english(chance, 3)]
    (folder / "other.txt").write_text("\n".join(other), encoding="utf-8")
    return (
        Source(name="news", path=(str(folder / "news.jsonl"),), text="{title} {content}", language="en"),
        Source(name="zh", path=(str(folder / "zh.txt.gz"),), language="zh", weight=2),
        Source(name="other", path=(str(folder / "other.txt"),)),
    )


@pytest.fixture
def request_for(tmp_path: Path, sources: tuple[Source, ...], tokenizer_file: str) -> Callable[..., BuildRequest]:
    def make(name: str = "out", **settings: Any) -> BuildRequest:
        usual = {"sources": sources, "tokenizer": tokenizer_file, "length": 128, "workers": 1}
        return BuildRequest(out=tmp_path / name, **(usual | settings))

    return make


@pytest.fixture(autouse=True)
def one_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened once: its parity with the reference is another test's matter."""
    monkeypatch.setattr(tokens, "open_tokenizer", _opened)


@cache
def _opened(reference: str) -> tokens.Tokenizer:
    return open_tokenizer(reference)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many shards and parts of few texts, as a large corpus has them."""
    real = build.sources.shards
    monkeypatch.setattr(build.sources, "shards", lambda given, most: real(given, 9000))
    monkeypatch.setattr(parts, "DOCUMENTS", 15)


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != build.LOCK
    }


def decoded(folder: Path, tokenizer: Any) -> list[str]:
    """The texts of a corpus, from its tokens alone."""
    found = []
    for source in Corpus(folder / TOKENS).sources.values():
        for store in source.stores:
            found += [tokenizer.decode(ids, skip_special_tokens=True) for ids in store.documents()]
    return found


def test_every_byte_is_accounted_for(request_for: Callable[..., BuildRequest], tokenizer: Any) -> None:
    request = request_for(mask=("email",))
    result = build.run(request, Silent())
    made = ledger(request.out)
    assert made is not None
    news, zh, other = made.sources
    assert news.read.bytes == Path(request.sources[0].path[0]).stat().st_size
    assert (news.read.documents, news.packed.documents) == (68, 61)
    assert {rule: tally.documents for rule, tally in news.filtered.items()} == {"empty": 1, "too_short": 1}
    assert {rule: tally.documents for rule, tally in news.unreadable.items()} == {"missing_field": 1, "not_json": 1}
    assert {rule: tally.documents for rule, tally in news.duplicates.items()} == {"exact": 2, "near": 1}
    assert (zh.filtered["too_short"].documents, zh.duplicates["exact"].documents, zh.packed.documents) == (1, 1, 40)
    assert (other.duplicates["exact"].documents, other.packed.documents) == (1, 2), "across sources, the first is kept"
    assert all(source.balanced for source in made.sources)
    assert (result.documents, result.duplicates, result.unreadable) == (103, 5, 2)
    texts = decoded(request.out, tokenizer)
    assert len(texts) == 103
    assert sum(len(text.encode()) for text in texts) == sum(source.text_bytes for source in made.sources)
    assert sorted(path.name for path in request.out.iterdir()) == [".lock", "build.json", DROPPED, LEDGER, TOKENS]


def test_what_was_dropped_can_be_looked_at(request_for: Callable[..., BuildRequest]) -> None:
    request = request_for()
    build.run(request, Silent())
    shown = {(one.source, one.rule): one for one in dropped(request.out)}
    assert shown["news", "missing_field"].told == "content"
    assert shown["zh", "too_short"].text == "太短"
    copy = shown["other", "exact"]
    assert copy.told.startswith("news.jsonl:")
    raw = Path(request.sources[0].path[0]).read_bytes()[int(copy.told.split(":")[1].split(" ")[0]) :]
    assert json.loads(raw.split(b"\n")[0])["content"] in copy.text


def test_parts_in_any_order_and_processes_make_the_same_bytes(
    request_for: Callable[..., BuildRequest], small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    build.run(request_for("one"), Silent())

    class Turned:
        def each(self, job: Any, tasks: Any) -> Any:
            for task in sorted(tasks, key=lambda task: hashlib.sha256(str(task).encode()).digest()):
                yield executor._answer(executor.told(job, task))

    monkeypatch.setattr(executor, "_Here", Turned)
    build.run(request_for("two"), Silent())
    assert len(hashes(request_for("one").out)) > 8
    assert hashes(request_for("one").out) == hashes(request_for("two").out)


class Killed(BaseException):
    """Ends the process's work as a kill would: nothing is tidied up that a kill would leave."""


def test_a_build_that_ends_anywhere_goes_on_to_the_same_bytes(
    request_for: Callable[..., BuildRequest], small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file appears by a rename: ended before some of them, twice on the way."""
    real, count, end = Path.replace, 0, 10**9

    def replace(self: Path, target: Any) -> Any:
        nonlocal count
        count += 1
        if count > end:
            raise Killed
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    build.run(request_for("whole"), Silent())
    renames = count
    request = request_for("broken")
    for share in (0.3, 0.5):  # in cleaning, then in what is left: looking for copies, packing
        count, end = 0, int(renames * share)
        with pytest.raises(Killed):
            build.run(request, Silent())
        assert not (request.out / LEDGER).exists()
    end = 10**9
    build.run(request, Silent())
    assert hashes(request.out) == hashes(request_for("whole").out)


def start(request: BuildRequest, folder: Path) -> subprocess.Popen:
    """The real command, in a session of its own."""
    config = folder / "corpus.json"
    settings = request.model_dump(mode="json", exclude={"out"})
    config.write_text(json.dumps({name: value for name, value in settings.items() if value is not None}))
    command = [sys.executable, "-m", "core", "corpus", "build", "--config", str(config), "--out", str(request.out)]
    return subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.DEVNULL, start_new_session=True)


def kill_when(process: subprocess.Popen, seen: Callable[[], bool]) -> None:
    """Kill the command and its workers as soon as `seen`, or let it end."""
    end = time.monotonic() + 120
    while process.poll() is None and not seen() and time.monotonic() < end:
        time.sleep(0.01)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


@pytest.mark.alone
def test_a_killed_command_goes_on_to_the_same_bytes(request_for: Callable[..., BuildRequest], tmp_path: Path) -> None:
    build.run(request_for("whole"), Silent())
    request = request_for("killed")
    kill_when(start(request, tmp_path), lambda: any((request.out / WORK).glob("0*.json")))
    assert not (request.out / LEDGER).exists()
    build.run(request, Silent())
    assert hashes(request.out) == hashes(request_for("whole").out)


@pytest.mark.soak
def test_twenty_kills_at_any_moment_change_no_byte(request_for: Callable[..., BuildRequest], tmp_path: Path) -> None:
    chance = random.Random(2)
    longer = tuple(
        source.model_copy(update={"path": tuple(f"{path}" for path in source.path)}) for source in request_for().sources
    )
    with Path(longer[0].path[0]).open("a", encoding="utf-8") as out:
        for number in range(40_000):
            out.write(json.dumps({"title": f"S{number}", "content": english(chance, 6)}) + "\n")
    settings = {"sources": longer, "workers": 2, "shard_size": 1}
    build.run(request_for("whole", **settings), Silent())
    request = request_for("killed", **settings)
    for _ in range(20):
        moment = time.monotonic() + chance.uniform(2, 12)
        kill_when(start(request, tmp_path), lambda moment=moment: time.monotonic() > moment)  # type: ignore[misc]
    build.run(request, Silent())
    assert hashes(request.out) == hashes(request_for("whole", **settings).out)


def test_a_finished_build_is_not_done_again_and_other_settings_are_refused(
    request_for: Callable[..., BuildRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build.run(request_for(), Silent())
    monkeypatch.setattr(clean, "clean", None)
    again = build.run(request_for(workers=0), Silent())
    assert again.model_dump(exclude={"seconds"}) == first.model_dump(exclude={"seconds"})
    with pytest.raises(UserError, match="length differ"):
        build.run(request_for(length=256), Silent())
    with Path(request_for().sources[0].path[0]).open("a") as file:
        file.write("\n")
    with pytest.raises(UserError, match="files differ"):
        build.run(request_for(), Silent())


def test_a_folder_with_other_things_in_it_is_left_alone(request_for: Callable[..., BuildRequest]) -> None:
    request = request_for()
    request.out.mkdir()
    (request.out / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        build.run(request, Silent())
    assert (request.out / "thesis.txt").read_text() == "mine"


def test_a_full_disk_loses_nothing(
    request_for: Callable[..., BuildRequest], small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_for()
    real, left = parts.save, [12]

    def save(path: Path, array: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(path, array)

    with monkeypatch.context() as patched:
        patched.setattr(parts, "save", save)
        with pytest.raises(UserError, match="disk is full"):
            build.run(request, Silent())
    assert not list(request.out.rglob("*.tmp")), "half a file only takes up space"
    assert build.run(request, Silent()).documents == 103


def test_damaged_and_empty_files_are_told_and_the_build_goes_on(
    request_for: Callable[..., BuildRequest], tmp_path: Path, sources: tuple[Source, ...]
) -> None:
    whole = Path(sources[1].path[0])
    whole.write_bytes(whole.read_bytes()[:-200])
    (tmp_path / "empty.txt").write_bytes(b"")
    said: list[str] = []

    class Heard(Silent):
        def log(self, line: str) -> None:
            said.append(line)

    request = request_for(sources=(*sources, Source(name="empty", path=(str(tmp_path / "empty.txt"),))))
    build.run(request, Heard())
    made = ledger(request.out)
    assert made is not None
    assert [one.file for one in made.sources[1].damaged] == [str(whole)]
    assert made.sources[1].packed.documents > 10
    assert any("breaks off" in line for line in said)
    assert made.sources[3].read.bytes == 0


def test_a_corpus_of_nothing_says_where_it_went(request_for: Callable[..., BuildRequest], tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("one\ntwo\n")
    request = request_for(sources=(Source(name="s", path=(str(tmp_path / "short.txt"),)),))
    with pytest.raises(UserError, match="2 were filtered"):
        build.run(request, Silent())
    assert [one.text for one in dropped(request.out)] != []
    with pytest.raises(UserError, match="No source"):
        build.run(request_for("none", sources=()), Silent())


def test_books_that_do_not_balance_are_no_corpus(
    request_for: Callable[..., BuildRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pack_part.pack

    def one_less(task: Any) -> dict[str, Any]:
        told = real(task)
        return {**told, "packed": [told["packed"][0] - 1, told["packed"][1]]}

    monkeypatch.setattr(pack_part, "pack", one_less)
    request = request_for()
    with pytest.raises(UserError, match="don't balance"):
        build.run(request, Silent())
    assert not (request.out / LEDGER).exists()


def test_masked_data_are_in_no_file(request_for: Callable[..., BuildRequest], tmp_path: Path, tokenizer: Any) -> None:
    chance = random.Random(1)
    private = "ada.lovelace@example.org"
    lines = [english(chance, 3) + f" Write to {private} then.", f"12.1 13.4 {private} " * 20]
    (tmp_path / "p.txt").write_text("\n".join(lines))
    request = request_for(sources=(Source(name="p", path=(str(tmp_path / "p.txt"),)),), mask=("email",))
    build.run(request, Silent())
    assert all(private.encode() not in path.read_bytes() for path in request.out.rglob("*") if path.is_file())
    (text,) = decoded(request.out, tokenizer)
    assert "[EMAIL]" in text


def test_looking_tells_what_a_build_would_do(request_for: Callable[..., BuildRequest]) -> None:
    asked = LookRequest(**request_for().model_dump(exclude={"out", "tokenizer"}), documents=30)
    news, zh, _ = look.run(asked, Silent()).sources
    assert news.fields == ("title", "content")
    assert [one.rule for one in news.documents if one.outcome] == ["not_json", "empty", "missing_field", "too_short"]
    assert zh.fields == ("text",)


@pytest.mark.soak
def test_two_processes_make_the_same_bytes_as_one(request_for: Callable[..., BuildRequest]) -> None:
    build.run(request_for("one"), Silent())
    build.run(request_for("two", workers=2), Silent())
    assert hashes(request_for("one").out) == hashes(request_for("two").out)


def test_a_worker_that_is_killed_is_said(request_for: Callable[..., BuildRequest]) -> None:
    with executor.open_executor("local", 2) as hands, pytest.raises(UserError, match="worker process was killed"):
        list(hands.each(_die, [1, 2]))


def _die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
