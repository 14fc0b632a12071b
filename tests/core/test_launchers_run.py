"""A training as an operation: started, followed, stopped, continued, dead; with a child that only talks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from safetensors.numpy import save_file

from core import __main__ as command_line
from core.errors import Cancelled, UserError
from core.launchers import finetune, follow, gpu, prepare, presets
from core.launchers.finetune import FinetuneRequest
from core.operation import Needs
from tests.conftest import PROJECT

LAYERS, HIDDEN, INNER, WORDS = 2, 64, 128, 300


class Watching:
    """Progress that keeps all it is told, and can act on a step."""

    def __init__(self, at: int = 0, act=lambda: None) -> None:
        self.steps: list[tuple] = []
        self.metrics: list[dict] = []
        self.lines: list[str] = []
        self._at, self._act = at, act

    def step(self, done, total=None, unit=""):
        self.steps.append((done, total, unit))
        if done == self._at:
            self._act()

    def metric(self, **values):
        self.metrics.append(values)

    def log(self, line):
        self.lines.append(line)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder with a small LLaMA's config and weights: enough for headers, not for computing."""
    folder = tmp_path / "base"
    folder.mkdir()
    config = {"hidden_size": HIDDEN, "vocab_size": WORDS, "max_position_embeddings": 256, "model_type": "llama"}
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {"model.embed_tokens.weight": (WORDS, HIDDEN), "model.norm.weight": (HIDDEN,)}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        shapes |= {f"{at}.self_attn.{name}_proj.weight": (HIDDEN, HIDDEN) for name in "qkvo"}
        shapes |= {f"{at}.mlp.{name}_proj.weight": (INNER, HIDDEN) for name in ("gate", "up")}
        shapes |= {f"{at}.mlp.down_proj.weight": (HIDDEN, INNER), f"{at}.input_layernorm.weight": (HIDDEN,)}
    save_file({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, folder / "model.safetensors")
    return folder


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch, workspace: Path):
    """Starts the talking child in place of the training."""
    monkeypatch.setattr(prepare, "MODULE", "tests.core.training_child")

    def behaves(how: str) -> None:
        monkeypatch.setenv("CHILD", how)

    return behaves


@pytest.fixture
def asked(base: Path, tmp_path: Path):
    (tmp_path / "rows.jsonl").write_text('{"instruction": "Say a.", "output": "a"}\n' * 50)

    def request(**settings) -> FinetuneRequest:
        given = {"base": str(base), "data": (tmp_path / "rows.jsonl",), "out": tmp_path / "out", "max_length": 128}
        return FinetuneRequest(**{**given, **settings})

    return request


def test_a_training_is_followed_to_its_end(child, asked):
    child("well")
    watching = Watching()
    result = finetune.run(asked(), watching)
    assert watching.steps == [(step, 4, "steps") for step in (1, 2, 3, 4)]
    assert watching.metrics[1] == {
        "loss": 2.0, "learning_rate": 1e-4, "grad_norm": 1.5, "tokens_per_second": 200.0, "memory": 1e9,
    }  # fmt: skip
    assert "rank 0 of 1" in watching.lines
    assert (result.steps, result.loss, result.verdict, result.stopped) == (4, 1.0, "better", False)
    assert (result.tokens, result.seconds, result.tokens_per_second) == (400, 2.0, 200.0)
    assert "better" in result.summary()


def test_the_child_is_given_every_setting_resolved(child, asked, tmp_path, monkeypatch):
    child("well")
    monkeypatch.chdir(tmp_path)
    finetune.run(asked(data=(Path("rows.jsonl"),), out=Path("out")), Watching())
    given = json.loads((tmp_path / "out" / "request.json").read_text())
    assert given["data"] == [str(tmp_path / "rows.jsonl")]
    assert given["out"] == str(tmp_path / "out")
    assert given["precision"] in ("bf16", "fp32")
    assert given["gradient_checkpointing"] == "off"
    assert given["micro_batch_tokens"] == 2048
    assert (given["launcher"], given["processes"]) == ("python", 1)
    FinetuneRequest.model_validate(given)


def test_only_what_is_new_is_told_also_when_a_resumed_training_writes_its_metrics_again(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_text("1\n2\n3\n4")
    tail = follow.Tail(file)
    tail.skip()
    assert list(tail.lines()) == []
    (tmp_path / "new").write_text("1\n2\n")
    (tmp_path / "new").replace(file)
    assert list(tail.lines()) == []
    with file.open("a") as handle:
        handle.write("3 again\n1\n2\n4 ag")
    assert list(tail.lines()) == ["3 again", "1", "2"]
    with file.open("a") as handle:
        handle.write("ain\n")
    assert list(tail.lines()) == ["4 again"]


def test_a_finished_training_is_not_done_again(child, asked):
    child("well")
    finetune.run(asked(), Watching())
    child("crash")
    watching = Watching()
    assert finetune.run(asked(), watching).steps == 4
    assert watching.lines == ["this training is finished already"]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("crash", r"ended at step 3 with code 1(.|\n)*the weights fell off"),
        ("user-error", "The row 7 is odd. Straighten it."),
        ("killed", "killed at step 3; most likely memory ran out"),
    ],
)
def test_a_death_is_told_with_its_reason(child, asked, how, said):
    child(how)
    with pytest.raises(UserError, match=said):
        finetune.run(asked(), Watching())


def test_an_earlier_runs_last_words_are_not_a_later_ones(child, asked):
    child("user-error")
    with pytest.raises(UserError, match="odd"):
        finetune.run(asked(), Watching())
    child("killed")
    with pytest.raises(UserError, match="killed at step 3"):
        finetune.run(asked(), Watching())


def test_cancelling_lets_the_step_end_and_be_saved_then_it_goes_on_from_there(child, asked, tmp_path):
    child("slow")

    def cancel():
        raise Cancelled

    with pytest.raises(Cancelled):
        finetune.run(asked(), Watching(2, cancel))
    (saved,) = (tmp_path / "out").glob("checkpoint-*")
    assert (saved / "complete.json").exists()
    assert not (tmp_path / "out" / "stop").exists()
    child("well")
    watching = Watching()
    finetune.run(asked(), watching)
    assert f"going on from {saved.name}" in watching.lines
    assert json.loads((tmp_path / "out" / "request.json").read_text())["resume"] == "last"
    assert [step for step, _, _ in watching.steps] == [1, 2, 3, 4]


def test_a_child_that_will_not_stop_is_killed(child, asked, monkeypatch):
    child("deaf")
    started = []
    monkeypatch.setattr(
        follow, "_start", lambda *given, real=follow._start: started.append(real(*given)) or started[-1]
    )
    monkeypatch.setattr(finetune.follow.run, "__defaults__", (0.5,))

    def cancel():
        raise Cancelled

    with pytest.raises(Cancelled):
        finetune.run(asked(), Watching(2, cancel))
    assert started[0].returncode == -signal.SIGKILL


def test_a_person_may_stop_it_by_a_file(child, asked, tmp_path):
    child("slow")
    result = finetune.run(asked(), Watching(3, (tmp_path / "out" / "stop").touch))
    assert result.stopped
    assert result.summary().startswith(f"{tmp_path / 'out'}: stopped after")


def test_other_settings_are_shown_not_mixed_in(child, asked, tmp_path):
    child("slow")
    finetune.run(asked(), Watching(1, (tmp_path / "out" / "stop").touch))
    with pytest.raises(UserError, match=r"learning_rate: 0\.0003 → 0\.0001"):
        finetune.run(asked(learning_rate=1e-4), Watching())
    child("well")
    watching = Watching()
    finetune.run(asked(learning_rate=1e-4, resume="last"), watching)
    assert "going on with other settings: learning_rate: 0.0003 → 0.0001" in watching.lines


def test_a_folder_of_other_things_is_left_alone(child, asked, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="holds something else"):
        finetune.run(asked(), Watching())
    with pytest.raises(UserError, match="no training to go on with"):
        finetune.run(asked(out=tmp_path / "new", resume="last"), Watching())


def test_a_second_training_waits_for_the_first_unless_told_not_to(child, asked, workspace, tmp_path):
    child("well")
    lock = FileLock(workspace / "training.lock", thread_local=False)
    lock.acquire()
    finetune.run(asked(out=tmp_path / "beside", at_once=True), Watching())
    threading.Timer(1.5, lock.release).start()
    watching, started = Watching(), time.monotonic()
    finetune.run(asked(), watching)
    assert time.monotonic() - started > 1.2
    assert watching.lines[0].startswith("Another training runs on this machine")


def test_a_dry_run_shows_everything_and_writes_nothing(asked, base, tmp_path, workspace):
    (tmp_path / "hosts").write_text("localhost slots=2\nnode-2 slots=2\n")
    before = everything(tmp_path)
    result = finetune.run(asked(hosts=tmp_path / "hosts", zero=3, dry_run=True), Watching())
    assert everything(tmp_path) == before
    told = result.summary()
    assert told.count("# machine ") == 2
    for name in ("request.json", "deepspeed.json", "hostfile"):
        assert f"# file on every machine: {tmp_path / 'out' / name}" in told
    assert finetune.estimate(asked(dry_run=True)) == Needs()


def everything(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if path.relative_to(folder).parts[0] != "workspace"}


def test_the_command_line_shows_the_plan_and_refuses_what_is_wrong(asked, base, tmp_path, workspace, capsys):
    words = ["train", "finetune", "--base", str(base), "--data", str(tmp_path / "rows.jsonl"), "--max-length", "128"]
    out = ["--out", str(tmp_path / "out")]
    assert command_line.main([*words, *out, "--plan"]) == 0
    assert "-m train.finetune --request" in capsys.readouterr().out
    assert command_line.main([*words, *out, "--max-length", "512", "--plan"]) == 1
    assert "more than this model's context of 256" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command_line.main([*words, *out, "--offload"])


def test_typed_options_override_the_file_and_the_file_the_defaults(asked, base, tmp_path, workspace):
    (tmp_path / "mine.yaml").write_text(
        f"base: {base}\ndata: [{tmp_path}/rows.jsonl]\nrank: 8\nalpha: 16\nlearning_rate: 2e-4\n"
        "max-length: 128\ngradient_checkpointing: on\n"
    )
    run = ["train", "finetune", "--config", str(tmp_path / "mine.yaml"), "--rank", "4", "--out", str(tmp_path / "out")]
    chosen = command_line.operations()["train finetune"]
    request, _ = command_line._parse(chosen, run[2:])
    assert (request.rank, request.alpha, request.learning_rate) == (4, 16.0, 2e-4)
    assert (request.max_length, request.gradient_checkpointing) == (128, "on")
    assert (request.dropout, request.base) == (0.05, str(base))
    (tmp_path / "mine.json").write_text(json.dumps({"rank": 2, "learning_rate": 1e-5}))
    request, _ = command_line._parse(
        chosen, ["--config", str(tmp_path / "mine.json"), "--base", "b", "--data", "d", "--out", "o"]
    )
    assert (request.rank, request.learning_rate) == (2, 1e-5)
    with pytest.raises(SystemExit):  # what is required still is
        command_line._parse(chosen, ["--config", str(tmp_path / "mine.json")])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rnak: 8", "“rnak”, which is no setting"),
        ("rank: many", '“rank” to "many"'),
        ("rank: 0", "greater than or equal to 1"),
        ("- rank", "no list of names"),
        ("rank: [", "can't be read"),
    ],
)
def test_a_wrong_settings_file_is_refused_by_name(tmp_path, text, said):
    (tmp_path / "wrong.yaml").write_text(text)
    with pytest.raises(UserError, match=said.replace("[", r"\[")):
        presets.read(tmp_path / "wrong.yaml", FinetuneRequest)


def test_the_presets_are_whole_and_knowlms_is_knowlms():
    assert set(presets.names()) >= {"lora", "qlora", "full", "knowlm"}
    for name in presets.names():
        presets.read(presets.file(name), FinetuneRequest)
    known = presets.read(presets.file("knowlm"), FinetuneRequest)
    assert (known["rank"], known["alpha"], known["dropout"], known["batch"]) == (16, 32.0, 0.05, 128)
    assert (known["learning_rate"], known["epochs"], known["max_length"]) == (3e-4, 3.0, 512)
    assert len(known["target_modules"]) == 7


def test_a_package_and_gpus_that_are_not_there_are_told_beforehand(asked, workspace, monkeypatch):
    monkeypatch.setattr(gpu, "usable", lambda: 0)
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(UserError, match="bitsandbytes is not installed") as refused:
        finetune.estimate(asked(method="qlora"))
    assert "pip install bitsandbytes" in refused.value.remedy
    with pytest.raises(UserError, match="no GPU 1 here"):
        finetune.estimate(asked(devices=(1,)))


def test_deepspeed_that_is_not_installed_is_named_with_its_remedy(child, asked, monkeypatch):
    monkeypatch.setattr(prepare.deepspeed.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install -r requirements-train\.txt"):
        finetune.run(asked(zero=2), Watching())


def test_a_gpu_beside_a_torch_for_the_processor_is_noticed(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "torch_cuda", lambda: None)
    monkeypatch.setattr(gpu, "DRIVER", tmp_path / "none")
    monkeypatch.setattr(gpu.resources, "gpus", lambda: ())
    assert gpu.unused() is None
    (tmp_path / "version").touch()
    monkeypatch.setattr(gpu, "DRIVER", tmp_path / "version")
    assert "pip install --force-reinstall torch==" in str(gpu.unused())
    assert gpu.usable() == 0


def test_which_torch_is_installed_is_read_without_importing_it():
    code = "import sys; from core.launchers import gpu; print(gpu.torch_cuda()); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    build = metadata.version("torch").partition("+")[2]
    assert (done.stdout.strip() == "None") == (build == "cpu" or sys.platform == "darwin")


@pytest.mark.skipif(os.name != "posix", reason="Windows has no TERM")
def test_a_job_that_is_cancelled_leaves_no_training_behind(child, asked, tmp_path):
    """The real command, ended as a job's cancel ends it: TERM to its process."""
    child("slow")
    request = asked()
    code = (
        "import sys; from core.launchers import prepare, finetune; from core.operation import Silent; "
        "import signal; from core.errors import Cancelled\n"
        "def stop(*_): raise Cancelled\n"
        "signal.signal(signal.SIGTERM, stop); prepare.MODULE = 'tests.core.training_child'\n"
        "finetune.run(finetune.FinetuneRequest.model_validate_json(sys.argv[1]), Silent())"
    )
    running = subprocess.Popen([sys.executable, "-c", code, request.model_dump_json()], cwd=PROJECT)
    metrics = tmp_path / "out" / "metrics.jsonl"
    end = time.monotonic() + 30
    while not metrics.exists() and time.monotonic() < end:
        time.sleep(0.05)
    running.terminate()
    assert running.wait(30) == 1
    size = metrics.stat().st_size
    time.sleep(0.5)
    assert metrics.stat().st_size == size
    assert list((tmp_path / "out").glob("checkpoint-*"))
