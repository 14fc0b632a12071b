"""What a person does on the Review page, key by key, and runs to do it on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from core.records import Entity, Extraction, Relation, Span
from core.store import Writer

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


def open_review(page: Page, url: str, run: Path) -> Locator:
    page.goto(f"{url}/review?run={run.name}")
    board = page.locator(".board")
    board.locator(".head").wait_for(timeout=60_000)
    page.wait_for_timeout(500)
    board.focus()
    return board


def write(run: Path, records: int) -> None:
    """Sentences of three records each; every one is another."""
    with Writer(run, {"task": ["ner", "re"], "schema": "speed"}) as store:
        for row in range(-(-records // 3)):
            name, place = f"Ada {row}", f"Ulm {row}"
            text = f"😀 {name} was born in {place}, as everybody knows who has read about her."
            head, tail = (Span(words, text.index(words), text.index(words) + len(words)) for words in (name, place))
            store.put(
                row,
                f"key {row}",
                Extraction(
                    f"row {row}",
                    text,
                    (Entity(name, "person", head.start, head.end), Entity(place, "place", tail.start, tail.end)),
                    (Relation(head, "born in", tail),),
                    confidence=(row % 97) / 97,
                    provenance={"row": row, "model": "speed"},
                ),
            )


def decide(page: Page, board: Locator, records: int, pause: float = 0.0) -> int:
    """Two accepted, one rejected, the sentence called whole; how many keys that took."""
    keys = 0
    for sentence in range(-(-records // 3)):
        board.page.locator(f'.board[data-place="{sentence}"] .record').first.wait_for(timeout=20_000)
        for key in ("a", "a", "r", "Enter"):
            page.keyboard.press(key)
            keys += 1
            if pause:
                time.sleep(pause)
    return keys


def saved(page: Page, board: Locator) -> float:
    """Seconds until nothing is unsaved any more."""
    started = time.monotonic()
    page.locator('.board[data-unsaved="0"]').wait_for(timeout=120_000)
    return time.monotonic() - started
