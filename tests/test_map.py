"""docs/map.md says what the files say of themselves."""

from __future__ import annotations

import importlib.util

from tests.conftest import PROJECT


def test_the_map_is_up_to_date_and_every_file_says_what_it_is_for():
    spec = importlib.util.spec_from_file_location("make_map", PROJECT / "docs" / "make_map.py")
    make_map = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_map)
    assert make_map.MAP.read_text(encoding="utf-8") == make_map.written(), "run `make map`"
    silent = [
        path
        for path in PROJECT.glob("[cutb]*/**/*.py")
        if path.stat().st_size and path.parts[-2] != ".venv" and not make_map.purpose(path)
    ]
    assert silent == []
