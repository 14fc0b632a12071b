"""What the batch itself costs: rows a second through the whole path, with a server that answers at once.

Reads a CSV, renders, asks a stub over loopback HTTP, parses, grounds, commits each row and exports.
The ratio is to the bare stub: the same prompts posted by as many threads, the answers thrown away.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

TEXT = "Person{0} was born in Place{0} and later worked for Company{0} with her friend Other{0}, as it is told."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["KNOWLM_STUDIO_HOME"] = str(folder / "workspace")
        (folder / "workspace").mkdir()
        print(json.dumps(measure(folder, rows)))


def measure(folder: Path, rows: int) -> dict[str, object]:
    from core.extract.run import RunRequest, run
    from core.operation import Silent
    from tests.core.extract_stub import running

    table = folder / "in.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text"], *([TEXT.format(number)] for number in range(rows))])
    with running(folder / "asked.log") as ref:
        request = RunRequest(
            input=table,
            text_column="text",
            schema_ref="people-and-organisations-en",
            out=folder / "out",
            model=ref,
        )
        bare = bare_rate(ref, rows)
        began = time.monotonic()
        result = run(request, Silent())
        whole = time.monotonic() - began
    assert (result.rows, result.failed) == (rows, 0)
    return {
        "benchmark": "batch_overhead",
        "rows": rows,
        "rows_per_second": round(rows / whole, 1),
        "bare_stub_rows_per_second": round(bare, 1),
        "ratio": round(rows / whole / bare, 2),
        "cores": os.cpu_count(),
    }


def bare_rate(ref: str, rows: int) -> float:
    from core.extract import schema
    from core.extract.dialects import studio
    from core.inference.client import connect
    from core.inference.decoding import Decoding

    client, known = connect(ref), schema.load("people-and-organisations-en")
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
