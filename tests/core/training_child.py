"""A process that trains nothing but says what a training says; for the tests of what starts and follows it.

`CHILD` in the environment tells how it behaves: well, slow (until it is stopped), deaf (to any stop), crash,
user-error, killed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

from core.errors import UserError

STEPS = 4


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--request", type=Path, required=True)
    out = Path(json.loads(parser.parse_args().request.read_text())["out"])
    how = os.environ.get("CHILD", "well")
    stop: list[bool] = []
    signal.signal(signal.SIGTERM, signal.SIG_IGN if how == "deaf" else lambda *_: stop.append(True))
    print(f"rank {os.environ.get('RANK', 0)} of {os.environ.get('WORLD_SIZE', 1)}", flush=True)
    total = STEPS if how == "well" else 1000
    for step in range(1, total + 1):
        said = {"step": step, "total_steps": total, "loss": 4.0 / step, "learning_rate": 1e-4, "seconds": 0.5}
        with (out / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({**said, "tokens_per_second": 200.0, "memory": 10**9, "grad_norm": 1.5}) + "\n")
        if step == 3 and how == "crash":
            raise RuntimeError("the weights fell off")
        if step == 3 and how == "user-error":
            error = UserError("The row {row} is odd.", remedy="Straighten it.", row=7)
            print(f"UserError: {json.dumps(error.to_dict())}\nmore words of a launcher", file=sys.stderr, flush=True)
            return 1
        if step == 3 and how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how != "deaf" and (True in stop or (out / "stop").exists()):
            (out / f"checkpoint-{step}").mkdir(exist_ok=True)
            (out / f"checkpoint-{step}" / "complete.json").write_text("{}")
            return 0
        time.sleep(0.02 if how == "well" else 0.1)
    (out / "result.json").write_text(json.dumps({"steps": total, "loss": 1.0, "verdict": {"word": "better"}}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
