"""Sentences: the rules of extraction's splitter, on a corpus of both languages."""

from __future__ import annotations

import pytest

from core.extract import chunk
from train.corpus import sentences

TEXTS = [
    "Dr. Smith went to Washington. He arrived at 3.14 p.m. on Jan. 5. Then he left!",
    "It was built by Acme Inc. in 1999. Acme Inc. The end. He said “Go.” She went. (Really?) Yes.",
    "Wait... what? No!! “Stop.” 'Now.' e.g. this, i.e. that. J. K. Rowling wrote it. See Fig. 3 and vol. 2.",
    "A title\n\nA first paragraph that\ngoes on. And ends.\nA next line: \nitem one;\nitem two\n\n\nLast one",
    "北京是首都。它很大！你去过吗？“去过。”他说……然后走了；后来又回来了。《红楼梦》是小说。",
    "第一段\n第二段，没有句号\n\n第三段。第四句\n",
    "混合 text 的句子。This is English. 然后是中文！Done?好的。",
    "The U.S. Army. The U.S. is big. He lives in the U.K. now. At 5 p.m. she slept. Prof. Dr. No. 5",
    "one.two.three https://a.b/c.d?e=f!g 1.2.3. Next. 3. Third item.\r\n\r\nWindows lines.\r\nMore.",
    "A list\n- first item\n- second one, of Mr.\n- third\n1) one\n2) two\nand on\n\n| a | b |\n| c | d |\nend of it",
    "日本語です。次の文です！カタカナ？「はい。」と言った。",
]


def places(text: str) -> list[int]:
    """Where core's sentences begin: white space that it holds for one of its own is none here."""
    found = {end + len(text[end:]) - len(text[end:].lstrip()) for _, end in chunk.sentences(text)}
    return sorted(place for place in found if place < len(text))


@pytest.mark.parametrize("text", TEXTS)
def test_sentences_begin_where_extraction_has_them_begin(text: str) -> None:
    assert sentences.starts(text).tolist() == places(text)


def test_knowlm_cuts_behind_its_seven_signs() -> None:
    text = "一。二！？三;四\n五，六"
    assert sentences.knowlm_starts(text).tolist() == [2, 5, 7, 9]
