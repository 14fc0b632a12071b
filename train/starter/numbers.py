"""Slot fillers without a list: dates, periods, amounts, measures. They belong to both splits.

`date` follows "on" (12 March 1987), `month` and `period` follow "in" (March 1987; the spring of 2004),
`time_in` is any of year, month and period, `when` needs no preposition (last year).
"""

from __future__ import annotations

import random
from collections.abc import Callable

Rng = random.Random
LISTS = """January February March April May June July August September October November December
Jan. Feb. March April May June July Aug. Sept. Oct. Nov. Dec.
Monday Tuesday Wednesday Thursday Friday Saturday Sunday
two three four five six seven eight nine ten eleven twelve fifteen twenty thirty forty sixty ninety
euros dollars pounds yen francs yuan rupees kronor pesos roubles won reais rand"""
MONTHS, SHORT, DAYS, SMALL, COINS = (line.split() for line in LISTS.splitlines())
UNITS = """nm|µm|mm|cm|m|km|kg|g|mg|µg|tonnes|seconds|ms|hours|degrees Celsius|°C|K|kelvin|GPa|kPa|bar|eV|keV|GeV|MeV
V|kV|mA|W|kW|MW|Hz|kHz|MHz|GHz|light-years|parsecs|solar masses|litres|ml|mmol/l|ppm|km/s|m/s|metres|kilometres
nanometres|micrometres|years|million years|days|base pairs|kDa|mg/kg|g/cm3|percent|lux|tesla|joules|decibels|volts"""
MEASURES = UNITS.replace("\n", "|").split("|")


def _year(rng: Rng) -> int:
    era = rng.random()
    if era < 0.55:
        return rng.randint(1960, 2024)
    return rng.randint(1800, 1959) if era < 0.95 else rng.randint(1100, 1799)


def _date(rng: Rng) -> str:
    day, at, year = rng.randint(1, 28), rng.randrange(12), _year(rng)
    month, ending = MONTHS[at], "th" if 4 <= day <= 20 or day >= 24 else ("st", "nd", "rd")[day % 10 - 1]
    forms = (
        (26, f"{day} {month} {year}"),
        (20, f"{month} {day}, {year}"),
        (8, f"{day} {month}"),
        (8, f"{month} {day}"),
        (16, rng.choice(DAYS)),
        (5, f"{rng.choice(DAYS)} {rng.choice(('morning', 'evening', 'afternoon', 'night'))}"),
        (3, f"{rng.choice(DAYS)}, {day} {month} {year}"),
        (3, f"{day}{ending} {month} {year}"),
        (2, f"the {day}{ending} of {month} {year}"),
        (4, f"{SHORT[at]} {day}"),
        (2, f"{SHORT[at]} {day}, {year}"),
        (2, f"{year:04d}-{at + 1:02d}-{day:02d}"),
        (2, f"{rng.choice(('Christmas Eve', 'New Year’s Day', 'Easter Sunday', 'Christmas Day'))} {year}"),
    )
    return _weighted(rng, forms)


def _month(rng: Rng) -> str:
    month = rng.choice(MONTHS)
    return month if rng.random() < 0.35 else f"{month} {_year(rng)}"


def _period(rng: Rng) -> str:
    year, part = _year(rng), rng.choice(("early", "late", "mid-"))
    decade = f"{year // 10 * 10}s"
    century = f"{rng.randint(13, 19)}th century"
    season = rng.choice(("spring", "summer", "autumn", "winter"))
    close = "" if part == "mid-" else " "
    forms = (
        (20, f"the {season} of {year}"),
        (20, f"the {decade}"),
        (14, f"{part}{close}{year}"),
        (12, f"the {part}{close}{decade}"),
        (8, f"the {part}{close}{century}"),
        (8, f"the {century}"),
        (5, f"the {rng.choice(('first', 'second'))} half of {year}"),
        (4, f"the {rng.choice(('last', 'first', 'final'))} months of {year}"),
        (4, f"{rng.choice(('spring', 'summer', 'autumn', 'winter'))} {year}"),
    )
    return _weighted(rng, forms)


def _time_in(rng: Rng) -> str:
    pick = rng.random()
    return str(_year(rng)) if pick < 0.6 else _month(rng) if pick < 0.8 else _period(rng)


def _when(rng: Rng) -> str:
    unit = rng.choice(("week", "month", "year"))
    forms = (
        (6, f"last {unit}"),
        (4, "yesterday"),
        (3, f"last {rng.choice(DAYS)}"),
        (3, f"{rng.choice(SMALL[:9])} {unit}s ago"),
        (3, f"{rng.choice(SMALL[:9])} {unit}s later"),
        (2, f"earlier this {unit}"),
        (2, f"next {unit}"),
        (2, f"this {rng.choice(('week', 'month', 'year', 'spring', 'summer', 'autumn', 'morning'))}"),
        (1, "today"),
        (1, f"the following {rng.choice(('day', 'year', 'month', 'spring'))}"),
        (1, f"late on {rng.choice(DAYS)}"),
    )
    return _weighted(rng, forms)


def _quarter(rng: Rng) -> str:
    year, nth = rng.randint(1995, 2024), rng.choice(("first", "second", "third", "fourth"))
    forms = (
        (8, f"the {nth} quarter"),
        (6, f"the {nth} quarter of {year}"),
        (3, f"fiscal {year}"),
        (3, f"the {rng.choice(('first', 'second'))} half of {year}"),
        (3, f"the {rng.choice(('three', 'six', 'nine'))} months to {rng.choice(MONTHS)}"),
        (5, str(year)),
        (2, f"the year to {rng.choice(MONTHS)} {year}"),
        (2, f"Q{rng.randint(1, 4)} {year}"),
    )
    return _weighted(rng, forms)


def _figure(rng: Rng) -> str:
    """Digits as amounts have them: 7, 3.4, 250, 1,200."""
    pick = rng.random()
    if pick < 0.35:
        return str(rng.randint(2, 99))
    if pick < 0.7:
        return f"{rng.randint(1, 99)}.{rng.randint(1, 9)}"
    return str(rng.randint(100, 950)) if pick < 0.9 else f"{rng.randint(1, 9)},{rng.randint(0, 999):03d}"


def _money(rng: Rng) -> str:
    scale, amount = rng.choice(("million", "million", "million", "billion")), _figure(rng).replace(",", ".")
    short, exact = rng.choice(("m", "bn")), f"{rng.randint(1, 900)},{rng.choice(('000', '500', '250'))}"
    name = rng.choice(COINS)
    code = rng.choice(("US$", "A$", "C$", "HK$", "USD ", "EUR ", "CHF ", "SEK ", "Rs ", "R$"))
    forms = (
        (24, f"${amount} {scale}"),
        (10, f"€{amount} {scale}"),
        (8, f"£{amount} {scale}"),
        (8, f"{amount} {scale} {name}"),
        (6, f"{rng.choice('$€£¥')}{exact}"),
        (5, f"{exact} {name}"),
        (5, f"{code}{amount} {scale}"),
        (5, f"{rng.choice('$€£')}{amount}{short}"),
        (3, f"{rng.choice(SMALL)} {scale} {name}"),
        (2, f"{rng.choice('$€£')}{rng.randint(2, 400)}"),
    )
    return _weighted(rng, forms)


def _percent(rng: Rng) -> str:
    value = str(rng.randint(1, 95)) if rng.random() < 0.5 else f"{rng.randint(0, 60)}.{rng.randint(1, 9)}"
    return _weighted(rng, ((10, f"{value}%"), (5, f"{value} percent"), (4, f"{value} per cent"), (1, f"{value} %")))


def _number(rng: Rng) -> str:
    pick = rng.random()
    if pick < 0.3:
        return str(rng.randint(2, 99))
    if pick < 0.7:
        return f"{rng.randint(1, 950)},{rng.randint(0, 999):03d}"
    return f"{rng.randint(1, 40)}.{rng.randint(1, 9)} million" if pick < 0.8 else str(rng.randint(100, 999))


def _count(rng: Rng) -> str:
    near = rng.choice(("at least ", "more than ", "about ", "some ", "nearly ", "", "", "", "", ""))
    return near + (
        rng.choice(SMALL) if rng.random() < 0.5 else str(rng.choice((rng.randint(13, 99), rng.randint(100, 900))))
    )


def _quantity(rng: Rng) -> str:
    value = _figure(rng) if rng.random() < 0.9 else f"0.{rng.randint(1, 99):02d}"
    return f"{value} {rng.choice(MEASURES)}"


def _duration(rng: Rng) -> str:
    amount = rng.choice(SMALL[:11]) if rng.random() < 0.6 else str(rng.randint(2, 48))
    return f"{amount} {rng.choice(('days', 'weeks', 'months', 'years', 'years', 'hours'))}"


def _clock(rng: Rng) -> str:
    hour, minute = rng.randint(1, 12), rng.choice(("00", "15", "30", "45", "05", "20", "52"))
    return rng.choice(
        (
            f"{hour}:{minute} {rng.choice(('a.m.', 'p.m.'))}",
            f"{hour} {rng.choice(('am', 'pm'))}",
            f"{hour + 8}:{minute}",
            "noon",
            "midnight",
        )
    )


def _weighted(rng: Rng, forms: tuple[tuple[int, str], ...]) -> str:
    at = rng.randrange(sum(weight for weight, _ in forms))
    for weight, form in forms:
        at -= weight
        if at < 0:
            return form
    raise AssertionError("weights and their sum disagree")


NUMBERS: dict[str, Callable[[Rng], str]] = {
    "year": lambda rng: str(_year(rng)),
    "date": _date,
    "month": _month,
    "weekday": lambda rng: rng.choice(DAYS),
    "period": _period,
    "time_in": _time_in,
    "when": _when,
    "quarter": _quarter,
    "clock": _clock,
    "duration": _duration,
    "money": _money,
    "percent": _percent,
    "number": _number,
    "count": _count,
    "quantity": _quantity,
    "age": lambda rng: str(rng.randint(17, 96)),
    "_initial": lambda rng: rng.choice("ABCDEFGHJKLMNPRSTVW") + ".",
    "_catalog": lambda rng: str(rng.randint(12, 9999)),
    "_digit": lambda rng: str(rng.randint(1, 9)),
    "_model": lambda rng: rng.choice(("{}", "{}0", "{}00", "X{}", "S{}", "{}i")).format(rng.randint(1, 9)),
}
