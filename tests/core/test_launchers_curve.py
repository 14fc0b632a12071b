"""The curve over shares of the data: what is trained, and what is said of it."""

from __future__ import annotations

from pathlib import Path

from core.launchers.curve import CurveRequest, Point, _part, advice


def point(share: float, loss: float | None) -> Point:
    return Point(share=share, samples=int(share * 100), eval_loss=loss, before=2.0, verdict="better")


def test_each_share_is_a_training_of_its_own_in_proportion() -> None:
    asked = CurveRequest(base="b", data=(Path("rows.jsonl"),), out=Path("curve"), max_steps=100)
    parts = [_part(asked, share) for share in (0.25, 0.5, 1.0)]
    assert [part.max_steps for part in parts] == [25, 50, 100]
    assert [part.out.name for part in parts] == ["share-25", "share-50", "share-100"]
    assert {part.share for part in parts} == {0.25, 0.5, 1.0}
    assert len({part.seed for part in parts}) == 1


def test_the_advice_rests_on_the_last_doubling() -> None:
    assert "would likely help" in advice([point(0.25, 1.5), point(0.5, 1.2), point(1.0, 1.0)])
    assert "hardly help" in advice([point(0.25, 1.5), point(0.5, 1.0), point(1.0, 0.999)])
    assert "can't be compared" in advice([point(0.5, None), point(1.0, None)])
