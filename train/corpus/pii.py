"""Private data found by its form and, where it has one, its check digit; a placeholder is put in its place."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from core.launchers.corpus import Mask

PLACEHOLDERS: dict[Mask, str] = {
    "email": "[EMAIL]",
    "phone": "[PHONE]",
    "id_number": "[ID]",
    "ip": "[IP]",
    "card": "[CARD]",
}
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


@dataclass(frozen=True)
class _Finder:
    form: re.Pattern[str]
    is_real: Callable[[str], bool] = lambda found: True


def mask(text: str, kinds: Collection[Mask]) -> tuple[str, Counter[str]]:
    """(the text with placeholders, how many of each kind). What is both (a card, a phone) counts as the longer form."""
    counts: Counter[str] = Counter()
    has_digits = re.search(r"\d", text) is not None
    for kind in MASKS_IN_ORDER:
        if kind not in kinds or not (
            ("@" in text) if kind == "email" else has_digits or (kind == "ip" and ":" in text)
        ):
            continue
        for finder in _FINDERS[kind]:
            text = finder.form.sub(lambda found, kind=kind, finder=finder: _put(found, kind, finder, counts), text)  # type: ignore[misc]
    return text, counts


def _put(found: re.Match[str], kind: Mask, finder: _Finder, counts: Counter[str]) -> str:
    if not finder.is_real(found[0]):
        return found[0]
    counts[kind] += 1
    return PLACEHOLDERS[kind]


def is_id_number(number: str) -> bool:
    """A Chinese resident's number: 17 digits and a check character (GB 11643-1999)."""
    total = sum(int(digit) * weight for digit, weight in zip(number, _ID_WEIGHTS, strict=False))
    return "10X98765432"[total % 11] == number[-1].upper()


def is_card(number: str) -> bool:
    """13 to 19 digits whose last one checks the others (Luhn, ISO/IEC 7812)."""
    digits = [int(sign) for sign in number if sign.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def is_ip6(address: str) -> bool:
    """Written out, or with digits in it: `face::add` may as well be C++."""
    return is_ip(address) and (address.count(":") == 7 or any(sign.isdigit() for sign in address))


def _finder(form: str, is_real: Callable[[str], bool] = lambda found: True) -> _Finder:
    return _Finder(re.compile(form, re.ASCII | re.VERBOSE), is_real)


_FINDERS: dict[Mask, tuple[_Finder, ...]] = {
    "email": (
        _finder(r"(?<![\w.+-]) [A-Za-z0-9][\w.+-]{0,63} @ (?:[A-Za-z0-9-]{1,63}\.){1,8} [A-Za-z]{2,24} (?![\w-])"),
    ),
    "id_number": (
        _finder(
            r"""(?<![\dA-Za-z]) [1-9]\d{5}                                    # where
            (?:19|20)\d\d (?:0[1-9]|1[0-2]) (?:0[1-9]|[12]\d|3[01])          # born
            \d{3} [\dXx] (?![\dA-Za-z])""",
            is_id_number,
        ),
    ),
    "card": (
        _finder(r"(?<![\d.,-]) [2-6]\d{3} (?:[ -]?\d{4}){2} [ -]?\d{1,7} (?![\d-])", is_card),
        _finder(r"(?<![\d.,-]) 3[47]\d\d [ -]? \d{6} [ -]? \d{5} (?![\d-])", is_card),
    ),
    "phone": (
        _finder(r"(?<![\d+.-]) (?:(?:\+|00)?86[ -]?)? 1[3-9]\d ([ -]?) \d{4} \1 \d{4} (?!\d)"),  # mobile, China
        _finder(r"(?<![\d+.-]) 0[1-9]\d{1,2} - [2-9]\d{6,7} (?![\d-])"),  # at a place, China
        _finder(r"(?<![\d+]) \+[1-9]\d{0,2} [ .-]? (?:\(\d{1,4}\)[ .-]?)? \d (?:[ .-]?\d){6,11} (?!\d)"),  # abroad
        _finder(r"(?<![\d.-]) (?:\([2-9]\d\d\)[ ]?|[2-9]\d\d[-.]) [2-9]\d\d [-.] \d{4} (?![\d-])"),  # North America
    ),
    "ip": (
        _finder(r"(?<![\w.-]) (?:\d{1,3}\.){3} \d{1,3} (?![\w-]|\.\d)", is_ip),
        _finder(r"(?<![\w:.]) (?=[0-9A-Fa-f]*:[0-9A-Fa-f:]*:) [0-9A-Fa-f:]{6,39} (?![\w:])", is_ip6),
    ),
}
MASKS_IN_ORDER: tuple[Mask, ...] = ("email", "id_number", "card", "phone", "ip")
"""The longer forms first, so that a phone number is not found inside a card's."""
