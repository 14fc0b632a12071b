"""Writes docs/map.md: the tree, one line a file, read from the files' own first lines (`make map`)."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
MAP = PROJECT / "docs" / "map.md"
ROOMS = {
    "": "The entry and what sets the project up.",
    "core": "All that the app can do, without a window. Imports neither ui nor train.",
    "core/extract": "Text to records: schema, chunks, prompts, grammars, parsing, grounding, batches.",
    "core/extract/dialects": "One file a prompt dialect: schema and text to prompt, answer to records.",
    "core/graph": "Records to a knowledge graph: nodes with evidence, positions, exports.",
    "core/graph/exports": "One file an export format.",
    "core/inference": "The model host, its engines and the client that everything else uses.",
    "core/inference/engines": "One file an engine.",
    "core/jobs": "Operations in processes of their own, whose state is read off files.",
    "core/launchers": "Trainings: what they are asked, what they take, which commands they are, on how many machines.",
    "core/serve": "The loaded model for others, over HTTP.",
    "core/weights": "Models on disk: fetch, check, recover, convert, merge, export.",
    "train": "Training code; may import core.",
    "core/extract/readers": "One file a document format: text with its structure and pages.",
    "core/extract/review": "A run's records judged by people, and what comes of that.",
    "core/extract/tasks": "One file a task: its lines in prompts, answers and grammars.",
    "train/corpus": "Texts of many sources to packed token stores, and the order in which they are trained on.",
    "train/starter": "The starter adapter: its rows, real and generated, and what it is scored by.",
    "ui": "The window. Imports core; never torch or transformers.",
    "ui/views": "One file a page.",
    "ui/parts": "Widgets that several pages share.",
    "ui/sharing": "The Gradio page for other people.",
    "ui/i18n": "The language of the window.",
    "benchmarks": "One script a figure, each printing one JSON line.",
    "docs": "For readers.",
    "tests": "Mirrors core, train and ui.",
    "tests/core": "Tests of core.",
    "tests/ui": "Tests of pages without a browser.",
    "tests/train": "Tests of train.",
    "tests/train/corpus": "Tests of corpora.",
    "tests/e2e": "The real app in Chromium.",
}


def written() -> str:
    """The map as it should be: every Python file that git tracks or would track, by folder."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    names = subprocess.run(listed, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split()
    folders: dict[str, list[Path]] = {}
    for path in sorted({Path(name) for name in names if (PROJECT / name).exists()}):
        folders.setdefault("" if path.parent == Path() else path.parent.as_posix(), []).append(path)
    lines = [
        "# The map",
        "",
        "One line a file, read from the file's own first line by `make map`; a test keeps it true.",
        "",
    ]
    for folder, paths in sorted(folders.items()):
        described = [(path, purpose(PROJECT / path)) for path in paths]
        lines += [f"## {folder or '.'}", "", ROOMS.get(folder, ""), ""]
        lines += [f"- `{path.name}`: {words}" for path, words in described if words]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def purpose(path: Path) -> str:
    """The first line of a module's docstring; empty for an empty file."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    return docstring.splitlines()[0] if docstring else ""


if __name__ == "__main__":
    MAP.write_text(written(), encoding="utf-8")
    sys.exit(0)
