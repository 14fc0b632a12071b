"""A corpus built on a Ray cluster of two nodes is the corpus that one process builds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import UserError
from core.launchers.corpus import BuildRequest, Source
from core.operation import Silent
from core.paths import ASSETS
from train.corpus import build, executor

pytestmark = pytest.mark.soak


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Two nodes of one processor each; the address of a Ray client's server."""
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100 << 20})
    made.add_node(num_cpus=1, object_store_memory=100 << 20)
    made.wait_for_nodes()
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    yield made.address
    made.shutdown()


def test_two_nodes_make_the_same_bytes_as_one_process(cluster: str, tmp_path: Path, tokenizer: Any) -> None:
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    usual: dict[str, Any] = {
        "sources": tuple(
            Source(name=name, path=(str(ASSETS / "samples" / "corpus" / f"{name}.jsonl"),), text="{title}\n{content}")
            for name in ("en", "zh")
        ),
        "tokenizer": str(tmp_path / "tokenizer" / "tokenizer.json"),
        "length": 128,
    }
    build.run(BuildRequest(out=tmp_path / "here", workers=1, **usual), Silent())
    build.run(BuildRequest(out=tmp_path / "there", executor="ray", **usual), Silent())
    assert hashes(tmp_path / "here") == hashes(tmp_path / "there")
    with executor.open_executor("ray", 0) as hands:
        assert sorted(hands.each(_doubled, [1, 2, 3, 4, 5])) == [2, 4, 6, 8, 10]
        with pytest.raises(UserError, match="never three"):
            list(hands.each(_refused, [3]))


def _doubled(number: int) -> int:
    return 2 * number


def _refused(_: int) -> int:
    raise UserError("It is never three.", remedy="Take two.")


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != build.LOCK
    }
