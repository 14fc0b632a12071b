"""What the batch itself costs: rows a second through the whole path, with answers that come at once.

Three ways: `inside`, answered in this process, which is all that the path itself costs; `loopback`, by a lean server
over HTTP; `runners`, the same shared by several processes. Each reads a CSV, renders, asks, parses, grounds, commits
each row, exports and joins. Beside them the bare server: the same prompts posted by as many threads, the answers
thrown away; memory, and the seconds until a finished batch knows that there is nothing to do.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

TEXT = "Person{0} was born in Place{0} and later worked for Company{0} with her friend Other{0}, as it is told."
SCHEMA = "people-and-organisations-en"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--runners", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["KNOWLM_STUDIO_HOME"] = str(folder / "workspace")
        (folder / "workspace").mkdir()
        print(json.dumps(measure(folder, asked.rows, asked.runners)))


def measure(folder: Path, rows: int, runners: int) -> dict[str, object]:
    table = folder / "in.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text"], *([TEXT.format(number)] for number in range(rows))])
    import core.extract.run  # what imports cost is no row's matter

    core.extract.run.schemas.ready_made()
    inside = timed(lambda: batch(table, folder / "inside", "http://127.0.0.1:9/v1", connect=Instant), rows)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began = time.monotonic()
    batch(table, folder / "inside", "http://127.0.0.1:9/v1", connect=Instant)
    again = time.monotonic() - began
    with stub() as ref:
        bare = bare_rate(ref, rows)
        loopback = timed(lambda: batch(table, folder / "loopback", ref), rows)
        shared = timed(lambda: batch(table, folder / "shared", ref, runners=runners), rows)
    return {
        "benchmark": "batch_overhead",
        "rows": rows,
        "inside_rows_per_second": round(inside, 1),
        "loopback_rows_per_second": round(loopback, 1),
        "runners": runners,
        "runners_rows_per_second": round(shared, 1),
        "bare_stub_rows_per_second": round(bare, 1),
        "ratio": round(loopback / bare, 2),
        "peak_mib": round(peak, 1),
        "nothing_to_do_seconds": round(again, 2),
        "cores": os.cpu_count(),
    }


def batch(table: Path, out: Path, ref: str, *, connect: Callable[[str], Any] | None = None, runners: int = 1) -> None:
    from core.extract.export import export_run
    from core.extract.joinback import join_run
    from core.extract.prepared import prepare
    from core.extract.run import RunRequest, run
    from core.operation import Silent

    request = RunRequest(input=table, text_column="text", schema_ref=SCHEMA, out=out, model=ref, runners=runners)
    if connect is None:
        result = run(request, Silent())
        counted = (result.rows, result.failed)
    else:
        made = prepare(request)
        made.batch(made.facts(), connect=connect).run(Silent(), settings=made.settings())
        exported = export_run(out)
        join_run(out, table)
        counted = (exported.rows, exported.failed)
    assert counted == (sum(1 for _ in table.open()) - 1, 0)


def timed(work: Callable[[], None], rows: int) -> float:
    """Rows a second."""
    began = time.monotonic()
    work()
    return rows / (time.monotonic() - began)


class Instant:
    """Answers in this process as the stub does."""

    parallel, context = 8, 4096
    can: ClassVar[dict[str, Any]] = {}

    def __init__(self, ref: str) -> None:
        from core import models

        self.model = models.resolve(ref)

    def chat(self, messages: list[dict[str, str]], decoding: object, **_: object) -> Any:
        from core.inference.client import Answer

        text = messages[-1]["content"].rsplit("\nText: ", 1)[-1]
        return Answer(f"person: {text.split()[0]}", "stop", 9, 4, 0.0)


@contextmanager
def stub() -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks._instant_stub"]
    with subprocess.Popen(command, cwd=PROJECT, text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1#stub"
        finally:
            process.kill()


def bare_rate(ref: str, rows: int) -> float:
    from core.extract import schema
    from core.extract.dialects import studio
    from core.inference.client import connect
    from core.inference.decoding import Decoding

    client, known = connect(ref), schema.load(SCHEMA)
    prompts = [studio.prompt("ner", known, TEXT.format(number), examples=True) for number in range(rows)]
    began = time.monotonic()
    with ThreadPoolExecutor(client.parallel) as pool:
        list(
            pool.map(
                lambda prompt: client.chat([{"role": "user", "content": prompt}], Decoding(), grammar=None), prompts
            )
        )
    return rows / (time.monotonic() - began)


if __name__ == "__main__":
    main()
