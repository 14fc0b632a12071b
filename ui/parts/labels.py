"""Labels of a chooser's options. Streamlit tells options apart by what they say, so no two may say the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping


def distinct(labels: Mapping[str, str]) -> dict[str, str]:
    """{option: label}, with the option's own name behind a label that an earlier option has too."""
    seen: Counter[str] = Counter()
    made = {}
    for option, label in labels.items():
        made[option] = f"{label} · {option}" if seen[label] else label
        seen[label] += 1
    return made
