"""`python -m core train curve`: the same training on a quarter, half and all of the data: would more data help?

Each is a training of its own, in a folder of its own, on the same validation part; a second call goes on where
the first stopped.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from core.launchers import finetune
from core.launchers.finetune import FinetuneRequest
from core.operation import Needs, Progress, Result, operation

SHARES = (0.25, 0.5, 1.0)
LEVEL = 0.01
"""A share's gain in validation loss below this part of it counts as none."""


class CurveRequest(FinetuneRequest):
    """Train on 25, 50 and 100% of the rows and compare: would more data help?"""


class Point(Result):
    share: float
    samples: int
    eval_loss: float | None
    before: float | None
    verdict: str


class CurveResult(Result):
    out: Path
    points: tuple[Point, ...]
    advice: str

    def summary(self) -> str:
        lines = [
            f"{point.share:4.0%} {point.samples:8} samples: validation loss "
            f"{'–' if point.eval_loss is None else format(point.eval_loss, '.4f')} ({point.verdict or 'not measured'})"
            for point in self.points
        ]
        return "\n".join([*lines, self.advice, f"written to {self.out}"])


def _estimate(request: CurveRequest) -> Needs:
    whole = finetune.estimate(_part(request, 1.0))
    seconds = whole.seconds * sum(SHARES) if whole.seconds is not None else None
    disk = whole.disk * len(SHARES) if whole.disk is not None else None
    return Needs(whole.ram, whole.vram, disk, whole.disk_at, seconds)


def _plan(request: CurveRequest) -> list[str]:
    return [f"{share:.0%}: {line}" for share in SHARES for line in finetune.plan_lines(_part(request, share))]


@operation("train", "curve", estimate=_estimate, plan=_plan)
def run(request: CurveRequest, progress: Progress) -> CurveResult:
    made = []
    for share in SHARES:
        progress.log(f"training on {share:.0%} of the rows")
        part = _part(request, share)
        finetune.run(part, progress)
        told: dict[str, Any] = json.loads((part.out / "result.json").read_text(encoding="utf-8"))
        judged = told.get("verdict") or {}
        made.append(
            Point(
                share=share,
                samples=told["data"]["trained"],
                eval_loss=told.get("eval_loss"),
                before=judged.get("before"),
                verdict=judged.get("word", ""),
            )
        )
    return CurveResult(out=request.out, points=tuple(made), advice=advice(made))


def advice(points: list[Point]) -> str:
    """What the last doubling of the data brought, said plainly."""
    half, whole = points[-2].eval_loss, points[-1].eval_loss
    if half is None or whole is None:
        return "Nothing was kept for validation, so the shares can't be compared."
    gain = (half - whole) / half if half else 0.0
    if gain > LEVEL:
        return f"The second half of the data lowered the validation loss by {gain:.1%}: more would likely help."
    return f"The second half of the data changed the validation loss by {-gain:+.1%}: more of it would hardly help."


def _part(request: CurveRequest, share: float) -> FinetuneRequest:
    told = request.model_dump() | {"share": share, "out": request.out / f"share-{round(share * 100)}"}
    if request.max_steps:
        told["max_steps"] = max(1, round(request.max_steps * share))
    return FinetuneRequest.model_validate(told | {"resume": ""})  # one that was begun goes on by itself
