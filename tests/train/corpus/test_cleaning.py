"""Texts mended, judged and masked."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import UserError
from core.launchers.corpus import MASKS
from train.corpus import filters, pii
from train.corpus.repair import repair

ENGLISH = (
    "A lock is a chamber with a gate at either end. A boat that goes uphill enters through the lower gate, which is "
    "closed behind it. Then valves in the upper gate are opened, and the water rises with the boat in it. "
    "All of the water runs downhill, so that no pump is needed for it at all."
)
CHINESE = (
    "豆浆煮开以后，往里面慢慢点卤水，蛋白质就会凝结成一团一团的豆花。"
    "压得轻是嫩豆腐，压得重是老豆腐。老人常说，一物降一物。"
)
LIMITS = filters.read_limits(None)
LISTS = filters.read_lists(None)


def dropped(text: str, language: str = "auto") -> str:
    found = filters.judge(filters.looked_at(text, language), LIMITS, LISTS, quality=True)
    return found.rule if found else ""


@pytest.mark.parametrize(
    ("broken", "mended", "what"),
    [
        ("cafÃ© and â€œquotesâ€\x9d", "café and “quotes”", "encoding"),
        ("bread &amp; butter", "bread & butter", "encoding"),
        ("bell\x07 and \x1b[31mred\x1b[0m", "bell and red", "encoding"),
        ("cafe\u0301 ＡＢＣ１２３", "café ABC123", "letters"),
        ("　　第一段。\u200b  \n\n\n\n第二段。", "第一段。\n\n第二段。", "spaces"),
        ("a\u00a0b", "a b", "spaces"),
    ],
)
def test_what_is_broken_is_mended(broken: str, mended: str, what: str) -> None:
    assert repair(broken) == (mended, (what,))


@pytest.mark.parametrize("text", [ENGLISH, CHINESE, "“卷”——全角标点，不动！", "don’t touch ﬁne quotes", "naïve façade"])
def test_sound_text_stays_as_it_is(text: str) -> None:
    assert repair(text) == (text, ())


@pytest.mark.parametrize("text", [ENGLISH, CHINESE, ENGLISH * 3 + "\n" + CHINESE])
def test_running_text_is_kept(text: str) -> None:
    assert dropped(text) == ""


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("broken_characters", ENGLISH.replace("gate", "g\ufffdte")),
        ("too_short", "Mondays only."),
        ("too_short", "首页 产品 新闻 关于"),
        ("few_letters", "| 12.1 | 13.4 | Anna | Berg | ------ | 14.4 | " * 10),
        ("many_digits", "In 1848 and in 1849 and then in 1850 all of them went on to 18520 of them. " * 3),
        ("many_links", f"{ENGLISH} " + "see https://example.org/a/very/long/address/of/a/page and more " * 6),
        ("few_function_words", "钢铁煤炭石油水泥玻璃木材纸张橡胶塑料化纤棉花羊毛丝绸皮革陶瓷铜铝铅锌，" * 8),
        ("no_punctuation", "他们在这里的时候是很高兴的而且我们也是" * 12),
        ("spaced_out", " ".join("压得轻的是嫩豆腐，压得重的是老豆腐，老人常说，一物降一物。" * 3)),
        ("few_common_words", "haus baum strasse fenster wald berg stadt fluss " * 10),
        ("odd_words", "the of " + "internationalisierungsmassnahmen " * 60),
        ("repeated_lines", f"{ENGLISH}\n{CHINESE}\n" + "Click here to read more of it.\n" * 20),
        ("no_sentences", "\n".join(f"Menu entry of the {word}" for word in ENGLISH.replace(".", "").split()[:40])),
        ("repetition", "The clever cat sat down on that mat, and nobody moved it. " * 60),
        ("harmful:gambling", f"{ENGLISH} Online casino, free spins, casino bonus, welcome bonus."),
        ("harmful:fraud", f"{CHINESE}代开发票，办理假证，刻章办证，信用卡套现。"),
    ],
)
def test_each_rule_drops_what_it_is_for(rule: str, text: str) -> None:
    assert dropped(text) == rule


def test_a_declared_language_is_held_to() -> None:
    assert dropped(CHINESE, "en") == "other_language"
    assert dropped(ENGLISH, "zh") == "other_language"


def test_a_report_about_gambling_is_kept() -> None:
    assert dropped(f"{ENGLISH} The report says that an online casino had offered free spins. {ENGLISH} {ENGLISH}") == ""
    assert dropped(f"{CHINESE}警方说，这个博彩平台已经关闭。{CHINESE}{CHINESE}") == ""


def test_every_rule_is_explained_in_both_languages() -> None:
    import yaml

    told = yaml.safe_load(filters.QUALITY.read_text(encoding="utf-8"))
    assert set(told) == {*filters.RULES, "harmful"}
    assert all(one["en"] and one["zh"] for one in told.values())
    assert all(one.why for one in LISTS)


def test_own_limits_and_lists_are_taken(tmp_path: Path) -> None:
    own = tmp_path / "rules.yaml"
    own.write_text("too_short: {least: {en: 5, zh: 5}}\nharmful: {distinct: 1, per_1000: 0.1}\n")
    (tmp_path / "own.txt").write_text("[weather] dull\nuphill\n")
    limits, lists = filters.read_limits(own), filters.read_lists(tmp_path)
    found = filters.judge(filters.looked_at(ENGLISH, "auto"), limits, lists, quality=True)
    assert found == filters.Drop("harmful:weather", "uphill")
    assert filters.fingerprint(own, tmp_path) != filters.fingerprint(None, None)


@pytest.mark.parametrize(
    "content", ["nonsense: {most: 1}", "too_short: {most: 3}", "many_digits: {most: x}", "- a", ":"]
)
def test_wrong_limits_are_refused(tmp_path: Path, content: str) -> None:
    own = tmp_path / "rules.yaml"
    own.write_text(content)
    with pytest.raises(UserError, match=r"rules\.yaml"):
        filters.read_limits(own)


def test_words_without_a_kind_and_no_lists_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no word list"):
        filters.read_lists(tmp_path)
    (tmp_path / "a.txt").write_text("casino\n")
    with pytest.raises(UserError, match="Line 1"):
        filters.read_lists(tmp_path)


@pytest.mark.parametrize(
    ("private", "masked"),
    [
        ("write to a.b+c@mail.example.org!", "write to [EMAIL]!"),
        ("发到 user@例子", "发到 user@例子"),
        ("手机13812345678，或+86 138-1234-5678。", "手机[PHONE]，或[PHONE]。"),
        ("电话：010-62345678", "电话：[PHONE]"),
        ("call +44 20 7946 0958 or (415) 555-2671", "call [PHONE] or [PHONE]"),
        ("身份证号11010519491231002X。", "身份证号[ID]。"),
        ("编号110105194912310021。", "编号110105194912310021。"),
        ("card 4111 1111 1111 1111, 378282246310005", "card [CARD], [CARD]"),
        ("order 4111 1111 1111 1112", "order 4111 1111 1111 1112"),
        ("from 192.168.1.20 and 2001:db8::1", "from [IP] and [IP]"),
        ("version 999.1.1.1, std::face::add, 12:30:45", "version 999.1.1.1, std::face::add, 12:30:45"),
        ("in 1949, 3.14159265358979, 2024-11-24", "in 1949, 3.14159265358979, 2024-11-24"),
    ],
)
def test_private_data_are_masked_and_other_numbers_are_not(private: str, masked: str) -> None:
    assert pii.mask(private, MASKS)[0] == masked


def test_only_what_is_asked_for_is_masked_and_counted() -> None:
    text, counts = pii.mask("a@b.org 13812345678 13912345678", ("phone",))
    assert (text, dict(counts)) == ("a@b.org [PHONE] [PHONE]", {"phone": 2})
