"""One text through a real host, with an adapter and without it: the same prompt, the answers kept apart."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from core import models
from core.extract import schema
from core.inference import client
from tests.core.tiny_llama import make_tiny_adapter, make_tiny_llama
from ui.parts.attempt import Attempt

pytestmark = pytest.mark.model
SCHEMA = schema.from_json({"entities": ["person", "place"]}, "test")


def test_an_adapter_is_compared_with_its_base(tmp_path: Path, workspace: Path) -> None:
    adapter = make_tiny_adapter(make_tiny_llama(tmp_path / "tiny"), tmp_path / "adapter", seed=1)
    model = models.resolve(str(adapter))
    try:
        attempt = Attempt("Ann met Bob.", SCHEMA, ("ner",), model, True, compare=True).start()
        until = time.monotonic() + 120
        while not attempt.over and time.monotonic() < until:
            time.sleep(0.05)
    finally:
        client.unload()
    assert attempt.error is None and attempt.state == "done"
    assert attempt.extraction is not None and attempt.without is not None
    with_it, alone = attempt.calls
    assert (with_it.adapter, alone.adapter) == (True, False)
    assert with_it.prompt == alone.prompt and attempt.share == 1.0
