"""The sentences written one by one: every file holds together, and what breaks the format is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from train.starter import written

FILES = sorted(written.FOLDER.glob("*.txt"))
TOPIC = """== films
relation director | directed by: the tail made the head | made by: the tail is in charge of the head
--
"""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_type_is_used_and_nothing_kept_out_is_taught(file: Path) -> None:
    assert list(written.faults(file)) == []
    for topic in written.read(file):
        assert len(topic.sentences) >= 40


def test_types_and_sentences_are_many_and_some_say_nothing() -> None:
    topics = written.topics()
    assert len({topic.name for topic in topics}) == len(topics)
    sentences = [one for topic in topics for one in topic.sentences]
    assert len(sentences) > 3500 and sum(len(topic.relations) for topic in topics) > 500
    assert 0.1 < sum(not one.found for one in sentences) / len(sentences) < 0.3
    names = {name for topic in topics for made in topic.relations.values() for name, _ in made}
    assert not names & {"follows", "sequel of", "located in or next to body of water"}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("Ran was made by Kurosawa. || director: Ran > Ozu", "“Ozu” doesn't stand in the text"),
        ("Ran was made by Kurosawa. || editor: Ran > Kurosawa", "no type of the topic"),
        ("Ran was made by Kurosawa. || director: Ran", "no “ > ”"),
        ("relation editor | edited by", "no “name: description”"),
        ("Ran was made by Kurosawa.", "needs at least two wordings"),
    ],
)
def test_a_line_that_breaks_the_format_is_named(line: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "films.txt"
    file.write_text(TOPIC + line + "\n", encoding="utf-8")
    with pytest.raises(written.Unfit, match=f"films.txt:4: .*{why}"):
        written.read(file)


def test_records_are_read(tmp_path: Path) -> None:
    file = tmp_path / "films.txt"
    file.write_text(TOPIC + "Ran was made by Kurosawa. || director: Ran > Kurosawa\nNothing here. ||\n", "utf-8")
    (topic,) = written.read(file)
    (found,) = topic.sentences[0].found
    assert (found.type, found.text, found.parts) == ("director", "Ran", (("", "Kurosawa"),))
    assert topic.sentences[1].found == () and topic.task == "re"
