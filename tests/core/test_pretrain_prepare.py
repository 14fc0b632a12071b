"""From what is asked of a pretraining to what will be done: sizes, refusals, commands; nothing is started."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from core.__main__ import _spelled_out
from core.errors import UserError
from core.launchers import corpora, memory, presets, pretrain, pretrain_prepare, shapes
from core.launchers.pretrain_request import PretrainRequest
from tests.core.test_launchers_memory import THIRTEEN
from tests.core.tiny_llama import make_tiny_llama
from tests.train.pretrain_rows import corpus

Make = Callable[..., PretrainRequest]
PRESETS = presets.FOLDER / "pretrain"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("models") / "tiny", context=64, hidden=32)


@pytest.fixture(scope="module")
def rows(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus(base, tmp_path_factory.mktemp("corpus"), {"wiki": 60, "news": 40})


@pytest.fixture
def asked(base: Path, rows: Path, tmp_path: Path) -> Make:
    def make(**settings: Any) -> PretrainRequest:
        usual = {"base": str(base), "corpus": (rows,), "out": tmp_path / "out", "batch": 10, "precision": "fp32"}
        return PretrainRequest.model_validate(usual | settings)

    return make


def test_the_header_is_read_as_the_stores_own_code_reads_it(rows: Path) -> None:
    from train.corpus.store import Corpus

    seen, whole = corpora.looked_at([rows]), Corpus(rows)
    assert seen.rows == whole.rows() == {"wiki": 60, "news": 40}
    assert seen.tokens == {name: source.tokens for name, source in whole.sources.items()}
    assert (seen.length, seen.vocabulary) == (whole.length, whole.vocabulary.size)


def test_everything_left_open_is_settled(asked: Make) -> None:
    made = pretrain_prepare.prepared(asked())
    assert made.steps == 10 and made.request.micro_batch >= 1 and made.request.gradient_checkpointing == "off"
    assert made.passes * made.request.micro_batch * made.how.ranks >= 10
    assert made.needs().ram and made.needs().seconds
    assert made.commands().launcher == "python"
    assert pretrain_prepare.prepared(asked(processes=2)).commands().launcher == "torchrun"


def test_a_dry_run_over_a_hostfile_shows_each_machines_command_and_files(asked: Make, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("node-1 slots=8\nnode-2 slots=8\n")
    settings = presets.read(PRESETS / "knowlm.yaml", PretrainRequest) | {"hosts": tmp_path / "hosts", "dry_run": True}
    result = pretrain.run(asked(**settings), Silent())
    told = "\n".join(result.plan)
    for rank, name in enumerate(("node-1", "node-2")):
        assert f"# machine {rank + 1} of 2: {name}" in told
        assert f"--node_rank {rank} --master_addr node-1" in told
    assert "--module train.pretrain" in told and "# file on every machine:" in told
    assert '"stage": 3' in told and "4 passes of 20 rows each" not in told
    assert "5 passes of 20 rows each" in told  # 1,440 rows on 16 processes, as even as they come
    assert not (tmp_path / "out").exists()


class Silent:
    def step(self, *_: Any) -> None: ...
    def metric(self, **_: float) -> None: ...
    def log(self, line: str) -> None: ...


def test_machines_at_a_rendezvous_all_run_the_same(asked: Make) -> None:
    made = pretrain_prepare.prepared(asked(rendezvous="node-1:29400", machines=4, processes=2, zero=3))
    (start,) = made.commands().starts
    assert made.how.ranks == 8
    words = "--nnodes=4 --nproc-per-node=2 --rdzv-backend=c10d --rdzv-endpoint=node-1:29400 --rdzv-id=out"
    assert words in " ".join(start.argv)
    assert any(file.name == "deepspeed.json" for file in made.commands().files)


def test_knowlms_settings_are_as_they_were_published() -> None:
    made = presets.read(PRESETS / "knowlm.yaml", PretrainRequest)
    assert made["micro_batch"] * 3 * 24 == made["batch"] == 1440
    assert (made["learning_rate"], made["warmup"], made["beta1"], made["beta2"]) == (1.5e-5, 300, 0.9, 0.95)
    assert (made["zero"], made["weight_decay"], made["schedule"]) == (3, 0.1, "cosine")


def test_shapes_from_a_config_alone_are_those_of_the_weights(base: Path) -> None:
    config = shapes.config_of(base)
    counted, read = shapes.shape_of(config, config["vocab_size"]), memory.shape(base)
    for name in ("parameters", "layers", "hidden", "vocabulary", "context", "traffic"):
        assert getattr(counted, name) == getattr(read, name), name
    with pytest.raises(UserError, match="no setting “layers”"):
        shapes.changed(config, {"layers": "3"})


def test_each_stage_of_zero_saves_more() -> None:
    how = memory.Training("full", "bf16", 1024, True, 0, (), 0.0, 0, False, 24, 8, True, 2)
    needs = [memory.needs(THIRTEEN, replace(how, zero=stage)).vram or 0 for stage in (0, 1, 2, 3)]
    assert needs == sorted(needs, reverse=True) and len(set(needs)) == 4
    assert needs[3] < 40e9 < needs[0]


def test_a_slow_network_makes_it_slow() -> None:
    how = memory.Training("full", "bf16", 20 * 1024, True, 0, (), 0.0, 3, False, 24, 8, True, 2)
    slow, fast = (memory.network_seconds(THIRTEEN, how, 1, 3, gbits) for gbits in (10, 200))
    assert slow == pytest.approx(20 * fast)
    # 9 times 26 GB, two thirds of it through each card, at 1.25 GB/s
    assert slow == pytest.approx(9 * 2 * THIRTEEN.parameters * 2 / 3 / 1.25e9)
    assert memory.network_seconds(THIRTEEN, replace(how, ranks=8), 1, 3, 10) == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"weights": ("wiki",)}, "not NAME=VALUE"),
        ({"weights": ("wiki=0",)}, "no number above 0"),
        ({"shape": ("num_hidden_layers=2",)}, "another shape needs new weights"),
        ({"new_weights": True, "delta": True}, "no base"),
        ({"offload": True}, "offload needs zero"),
        ({"machines": 2}, "need a rendezvous"),
        ({"rendezvous": "somewhere"}, "not HOST:PORT"),
        ({"micro_batch": 11}, "more rows than a step"),
    ],
)
def test_what_does_not_go_together_is_said(asked: Make, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        asked(**settings)


def test_a_corpus_that_does_not_fit_the_model_is_refused_before_anything_starts(
    asked: Make, base: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no source “web”"):
        pretrain_prepare.prepared(asked(weights=("web=1",)))
    with pytest.raises(UserError, match="holds no token store"):
        pretrain_prepare.prepared(asked(corpus=(base,)))
    long = corpus(base, tmp_path / "long", {"wiki": 20}, length=128)
    with pytest.raises(UserError, match="rows of 128 tokens"):
        pretrain_prepare.prepared(asked(corpus=(long,)))
    with pytest.raises(UserError, match="different tokenizers or lengths"):
        pretrain_prepare.prepared(asked(corpus=(long, asked().corpus[0])))
    config = json.loads((base / "config.json").read_text())
    small = make_tiny_llama(tmp_path / "small", context=64, hidden=32)
    (small / "config.json").write_text(json.dumps(config | {"vocab_size": 100}))
    with pytest.raises(UserError, match="vocabulary of 258 tokens, more than the model's 100"):
        pretrain_prepare.prepared(asked(base=str(small)))
    (tmp_path / "cut.tokens").write_bytes(b"KLMTOKEN")
    with pytest.raises(UserError, match="is no token store"):
        pretrain_prepare.prepared(asked(corpus=(tmp_path / "cut.tokens",)))


def test_resume_needs_no_value() -> None:
    for words in (["--resume"], ["--resume", "--json"]):
        assert _spelled_out(PretrainRequest, words)[:2] == ["--resume", "last"]
    assert _spelled_out(PretrainRequest, ["--resume", "checkpoint-3"]) == ["--resume", "checkpoint-3"]
