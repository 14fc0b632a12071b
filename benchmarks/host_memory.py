"""Free memory before a model is loaded, while it is, and after it is unloaded: it must come back.

`python -m benchmarks.host_memory [MODEL]`: one JSON line; `ratio` is what did not come back, over the goal of 100 MB.
"""

from __future__ import annotations

import json
import sys
import time

import psutil

from core.inference import client
from core.inference.decoding import Decoding

GOAL = 100_000_000
ROUNDS = 3


def used() -> int:
    """Bytes that processes hold: the page cache, which keeps the model's file, is not among them."""
    memory = psutil.virtual_memory()
    return memory.total - memory.available


def settled() -> int:
    """The median of a second's looks: other processes come and go."""
    looks = []
    for _ in range(11):
        looks.append(used())
        time.sleep(0.1)
    return sorted(looks)[len(looks) // 2]


def one_round(ref: str) -> dict[str, int]:
    before = settled()
    connected = client.connect(ref)
    connected.complete("The capital of France is", Decoding(max_tokens=64))
    now = client.status()
    loaded = settled()
    connected.close()
    client.unload()
    left = 0 if not psutil.pid_exists(now.pid) or psutil.Process(now.pid).status() == psutil.STATUS_ZOMBIE else 1
    return {"before": before, "loaded": loaded, "after": settled(), "host_rss": now.rss, "processes_left": left}


def main(ref: str) -> None:
    client.unload()
    rounds = [one_round(ref) for _ in range(ROUNDS)]
    kept = sorted(each["after"] - each["before"] for each in rounds)[ROUNDS // 2]
    figures = {
        "benchmark": "host_memory",
        "model": ref,
        "loaded_mb": round(sorted(each["loaded"] - each["before"] for each in rounds)[ROUNDS // 2] / 1e6, 1),
        "host_rss_mb": round(max(each["host_rss"] for each in rounds) / 1e6, 1),
        "not_given_back_mb": round(kept / 1e6, 1),
        "processes_left": sum(each["processes_left"] for each in rounds),
        "goal_mb": GOAL / 1e6,
        "ratio": round(max(kept, 0) / GOAL, 3),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "starter")
