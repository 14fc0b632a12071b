"""What Home says of a recovery that stands still: where it stopped, and the way on."""

from __future__ import annotations

from core.errors import UserError
from core.weights import recovery, recovery_steps
from ui.i18n import t
from ui.parts import recover_job
from ui.parts.recover_texts import title


def stopped() -> list[tuple[str, str, str]]:
    """(recovery, title, why) of the newest that is neither finished nor running; empty where there is none."""
    for name in recovery.names():
        try:
            chosen = recovery.read(name)
            left = recovery_steps.remaining(chosen)
        except UserError:
            continue
        job = recover_job.latest(name)
        if left and (job is None or job.over):
            total = len(recovery.keys(chosen))
            why = t(
                "Stopped at step {n} of {total}, {step}. What is finished is kept.",
                n=total - len(left) + 1,
                total=total,
                step=title(chosen, left[0]),
            )
            return [(name, t("Continue recovering {name}", name=name), why)]
    return []
