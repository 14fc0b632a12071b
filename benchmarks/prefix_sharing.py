"""What a schema of ten times as many types costs a batch: its prompt is read once for all rows.

    python -m benchmarks.prefix_sharing [--rows 128] [--engine openvino]

The same texts under a schema of 6 relations and under one of 60 (the six and 54 that no text holds), through the whole
of `extract run`, in turns. One JSON line; `ratio` is the time a row with the long schema over the short one's [<= 1.3].
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.batch_speed import sentences
from core import models
from core.extract import schema as schemas
from core.extract.run import RunRequest
from core.extract.run import run as extract
from core.inference import client
from core.operation import Silent

SHORT = {
    "works for": "the organisation that a person works for",
    "born in": "the place where a person was born",
    "founded": "the organisation that a person founded",
    "located in": "the place that something is in",
    "wrote": "the work that a person wrote",
    "married to": "the person whom a person is married to",
}
THINGS = ("river", "star", "mineral", "battery", "enzyme", "orchid", "glacier", "violin", "bridge")
ENDS = ("flows into", "is named after", "is measured in", "is stored in", "is powered by", "is painted with")
TIMES = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine", default="openvino")
    given = parser.parse_args()
    relations = [{"name": name, "description": told} for name, told in SHORT.items()]
    more = [{"name": f"{thing} {end}", "description": f"what a {thing} {end}"} for thing in THINGS for end in ENDS]
    long = [*relations, *more][: TIMES * len(relations)]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        data = folder / "rows.jsonl"
        data.write_text("".join(json.dumps({"text": text}) + "\n" for text in sentences(given.rows)), encoding="utf-8")
        files = {}
        for name, types in (("short", relations), ("long", long)):
            files[name] = folder / f"{name}.json"
            schemas.save(schemas.from_json({"name": name, "relations": types}), files[name])
        client.load(models.STARTER, engine=given.engine)
        rows: dict[str, list[float]] = {"short": [], "long": []}
        for round_ in range(given.rounds):
            for name in rows:
                rows[name].append(rate(data, files[name], folder / f"{name}{round_}"))
        client.unload()
    medians = {name: statistics.median(rates) for name, rates in rows.items()}
    figures: dict[str, Any] = {
        "benchmark": "prefix_sharing",
        "cores": os.cpu_count(),
        "engine": given.engine,
        "rows": given.rows,
        "types": {"short": len(relations), "long": len(long)},
        "rows_per_second": {name: round(value, 2) for name, value in medians.items()},
        "ratio": round(medians["short"] / medians["long"], 2),
    }
    print(json.dumps(figures))


def rate(data: Path, schema: Path, out: Path) -> float:
    request = RunRequest(
        input=data, text_column="text", task=("re",), schema_ref=str(schema), out=out, model=models.STARTER
    )
    return extract(request, Silent()).rows_per_second


if __name__ == "__main__":
    main()
