"""`python -m core GROUP OPERATION --option …`, generated from the operations' Requests.

Exit codes: 0 done, 1 a UserError (one line and a remedy on stderr), 2 wrong usage, 130 cancelled.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import tyro

from core import resources
from core.errors import Cancelled, UserError
from core.launchers import presets
from core.operation import Operation, Request, operations

PROGRAM = "python -m core"


@dataclasses.dataclass
class Output:
    """What every command takes."""

    json: Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help="print the result as JSON")] = False
    plan: Annotated[
        bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help="print what it would do and need; write nothing")
    ] = False
    config: Annotated[
        Path | None, tyro.conf.arg(help="file with options, YAML or JSON; those that are typed have the last word")
    ] = None


class Terminal:
    """Progress on stderr: one line that is rewritten on a terminal, one every ten seconds elsewhere."""

    def __init__(self) -> None:
        self._shown = 0.0
        self._started = time.monotonic()
        self._live = sys.stderr.isatty()

    def step(self, done: float, total: float | None = None, unit: str = "") -> None:
        now = time.monotonic()
        if now - self._shown < (0.2 if self._live else 10) and done != total:
            return
        self._shown = now
        rate = done / max(now - self._started, 1e-9)
        left = f", {(total - done) / rate:.0f} s left" if total and rate else ""
        of = f" of {total:g}" if total else ""
        line = f"{done:g}{of} {unit}, {rate:.3g}/s{left}"
        print(f"\r\033[K{line}" if self._live else line, end="" if self._live else "\n", file=sys.stderr, flush=True)

    def metric(self, **values: float) -> None: ...

    def log(self, line: str) -> None:
        print(f"\r\033[K{line}" if self._live else line, file=sys.stderr, flush=True)


def main(argv: list[str]) -> int:
    known = operations()
    chosen = _choose(known, argv)
    if chosen is None:
        wants_help = not argv or any(word in ("-h", "--help") for word in argv)
        print(_overview(known, argv), file=sys.stdout if wants_help else sys.stderr)
        return 0 if wants_help and argv else 2
    wants_json = "--json" in argv
    try:
        request, output = _parse(chosen, argv[len(chosen.key.split()) :])
        return _plan(chosen, request, output) if output.plan else _run(chosen, request, output)
    except UserError as error:
        print(f"error: {error}" if not wants_json else json.dumps({"error": error.to_dict()}), file=sys.stderr)
        return 1
    except (KeyboardInterrupt, Cancelled):
        print("cancelled", file=sys.stderr)
        return 130


def _choose(known: dict[str, Operation], argv: list[str]) -> Operation | None:
    """The longest key that the words begin with: `extract audit sample`, `extract run`, `chat`."""
    return next((known[key] for words in (3, 2, 1) if (key := " ".join(argv[:words])) in known), None)


def _overview(known: dict[str, Operation], argv: list[str]) -> str:
    group = argv[0] if argv and any(made.group == argv[0] for made in known.values()) else None
    shown = [made for made in known.values() if group in (None, made.group)]
    width = max((len(made.key) for made in shown), default=0)
    lines = [f"  {made.key:<{width}}  {made.title}" for made in shown]
    return "\n".join([f"usage: {PROGRAM} GROUP OPERATION [--option …]", "", *lines])


def _parse(chosen: Operation, words: list[str]) -> tuple[Any, Output]:
    """Exits with 2 on wrong usage, as tyro does."""
    words = _spelled_out(chosen.request, words)
    command = dataclasses.make_dataclass("Command", [("request", chosen.request), ("output", Output)])
    config, _ = _Config.parse_known_args(words)
    given: dict[str, Any] = {}
    if config.config and not any(word in ("-h", "--help") for word in words):
        given["default"] = command(_defaults(chosen.request, config.config), Output())
    parsed: Any = tyro.cli(
        command,
        args=words,
        prog=f"{PROGRAM} {chosen.key}",
        description=chosen.title,
        config=(tyro.conf.OmitArgPrefixes,),
        **given,
    )
    return parsed.request, parsed.output


def _spelled_out(request: type[Request], words: list[str]) -> list[str]:
    """Options that may stand without their value get it: `--resume` means `--resume last`."""
    bare = {
        f"--{name.replace('_', '-')}": extra["bare"]
        for name, info in request.model_fields.items()
        if isinstance(extra := info.json_schema_extra, dict) and "bare" in extra
    }
    made: list[str] = []
    for at, word in enumerate(words):
        made.append(word)
        if word in bare and (at + 1 == len(words) or words[at + 1].startswith("--")):
            made.append(str(bare[word]))
    return made


_Config = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
_Config.add_argument("--config", type=Path)


def _defaults(request: type[Request], source: Path) -> Request:
    """A request whose fields stand as the file has them, so that tyro shows and takes those as the defaults."""
    fields = {
        name: tyro.MISSING if info.is_required() else info.get_default(call_default_factory=True)
        for name, info in request.model_fields.items()
    }
    return request.model_construct(**{**fields, **presets.read(source, request)})


def _plan(chosen: Operation, request: Any, output: Output) -> int:
    needs = chosen.estimate(request)
    lines = chosen.plan(request) if chosen.plan else []
    short = [str(error) for error in resources.shortages(needs)]
    if output.json:
        plan = {"needs": dataclasses.asdict(needs), "plan": lines, "does_not_fit": short}
        print(json.dumps(plan, ensure_ascii=False, default=str))
    else:
        print("\n".join([*lines, *resources.describe(needs), *(f"does not fit: {line}" for line in short)]))
    return 1 if short else 0


def _run(chosen: Operation, request: Any, output: Output) -> int:
    for shortage in resources.shortages(chosen.estimate(request)):
        raise shortage
    result = chosen.run(request, Terminal())
    print(result.model_dump_json() if output.json else result.summary())
    return 0


def entry() -> int:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(entry())
