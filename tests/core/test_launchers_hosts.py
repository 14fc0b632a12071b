"""Several machines: asked before anything starts, then started and ended. `ssh` is a script that stays here."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from core.errors import Cancelled, UserError
from core.launchers import follow, preflight, probe, ssh
from core.launchers.hosts import Node
from core.launchers.plan import Plan, Start
from core.operation import Silent
from tests.conftest import PROJECT

pytestmark = pytest.mark.skipif(os.name != "posix", reason="starts the other machines through a shell")

# What it is called with is kept; `away` is a machine that nobody can reach; any other is this one.
SSH = """#!/bin/sh
for last; do host="$line"; line="$last"; done
echo "$host: $line" >> "$SSH_LOG"
[ "$host" = away ] && { echo "ssh: connect to host away port 22: No route to host" >&2; exit 255; }
echo "Welcome to $host"
exec sh -c "$line"
"""
HERE = {"python": "3.11.9", "packages": {"torch": "2.13.0", "peft": "0.21.2"}, "missing": [], "gpus": 0, "cores": 4}


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log of what ssh was asked to do."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ssh").write_text(SSH)
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SSH_LOG", str(tmp_path / "ssh.log"))
    return tmp_path / "ssh.log"


def test_ssh_may_not_ask_for_anything_and_takes_a_host_for_a_host():
    assert ssh.command("ada@node", "true") == (
        "ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "--", "ada@node", "true",
    )  # fmt: skip


def test_what_is_asked_of_the_other_machines():
    nodes = (Node("here", 1), Node("node-2"))
    (question,) = preflight.questions(nodes, [Path("/a b")], python="/env/python", project=Path("/my studio"))
    assert question.argv[-2:] == (
        "node-2",
        "cd '/my studio' && exec env PYTHONPATH='/my studio' /env/python -m core.launchers.probe '/a b'",
    )


def test_the_machines_are_asked_for_real_and_counted(asked, tmp_path):
    nodes = preflight.check((Node("localhost", 2), Node("node-2")), [tmp_path], free())
    assert [node.slots for node in nodes] == [2, 1]
    assert all(node.cores for node in nodes)
    assert "node-2: cd " in asked.read_text()


def test_a_machine_that_lacks_a_path(asked, tmp_path):
    with pytest.raises(UserError, match=r"node-2 lacks .*rows.jsonl"):
        preflight.check((Node("localhost", 1), Node("node-2", 1)), [tmp_path / "rows.jsonl"], free())


def test_a_machine_that_cannot_be_reached(asked):
    with pytest.raises(UserError, match=r"away can't be reached with ssh: .*No route to host"):
        preflight.check((Node("localhost", 1), Node("away", 1)), [], free())


def test_a_machine_without_the_program(asked, monkeypatch):
    monkeypatch.setattr(preflight.paths, "PROJECT", Path("/nowhere/studio"))
    monkeypatch.setattr(preflight.questions, "__kwdefaults__", {"python": sys.executable, "project": Path("/nowhere")})
    with pytest.raises(UserError, match="does not run under the same path as here"):
        preflight.check((Node("localhost", 1), Node("node-2", 1)), [], free())


def test_the_first_machine_must_be_this_one(asked):
    with pytest.raises(UserError, match=r"203\.0\.113\.7, the first machine"):
        preflight.check((Node("203.0.113.7", 1), Node("localhost", 1)), [], free())
    with pytest.raises(UserError, match="can't be found"):
        preflight.check((Node("no-such-machine.invalid", 1), Node("localhost", 1)), [], free())


def test_a_taken_port_is_refused_and_on_one_machine_the_next_is_taken():
    with socket.socket() as made:
        made.bind(("", 0))
        made.listen()
        port = made.getsockname()[1]
        with pytest.raises(UserError, match=f"Port {port}"):
            preflight.refuse_busy(port)
        assert preflight.free_port(port) > port


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"python": "3.12.1"}, r"python 3\.12\.1 \(3\.11\.9\)"),
        ({"packages": {"torch": "2.12.0", "peft": "0.21.2"}}, r"torch 2\.12\.0 \(2\.13\.0\)"),
        ({"packages": {"torch": "2.13.0"}}, r"peft – \(0\.21\.2\)"),
        ({"packages": {**HERE["packages"], "deepspeed": "0.19.8"}}, r"deepspeed 0\.19\.8 \(–\)"),
        ({"missing": ["/data/rows.jsonl"]}, "lacks /data/rows.jsonl"),
    ],
)
def test_machines_that_differ_are_told_apart(other, said):
    preflight.compare("node-2", HERE, HERE)
    with pytest.raises(UserError, match=said):
        preflight.compare("node-2", HERE, {**HERE, **other})


def test_gpus_are_counted_and_slots_held_to_them():
    cards = {**HERE, "gpus": 4}
    assert preflight.filled(Node("n"), cards, cards).slots == 4
    assert preflight.filled(Node("n", 2), cards, cards).slots == 2
    assert preflight.filled(Node("n", 3), HERE, HERE).slots == 3  # processors may be shared out at will
    with pytest.raises(UserError, match="has 4 GPUs that torch can use; the hostfile says slots=8"):
        preflight.filled(Node("n", 8), cards, cards)
    with pytest.raises(UserError, match="can't train together"):
        preflight.filled(Node("n", 1), HERE, cards)


def test_the_probe_tells_what_is_installed(tmp_path):
    told = probe.found([str(tmp_path), str(tmp_path / "none")])
    assert told["missing"] == [str(tmp_path / "none")]
    assert told["packages"]["torch"]
    assert json.loads(json.dumps(told)) == told


def start(node: Node, out: Path, how: str) -> Start:
    argv = (sys.executable, "-m", "tests.core.training_child", "--request", str(out / "request.json"))
    return Start(node, argv, {"CHILD": how, "PYTHONPATH": str(PROJECT)}, PROJECT)


def two_machines(out: Path, first: str, second: str) -> Plan:
    out.mkdir()
    starts = (start(Node("localhost", 1), out, first), start(Node("node-2", 1), out, second))
    return Plan("torchrun", starts, {out / "request.json": json.dumps({"out": str(out)})})


def test_files_reach_the_other_machine_and_its_command_runs_there(asked, tmp_path):
    seen = follow.run(two_machines(tmp_path / "out", "well", "well"), tmp_path / "out", Silent())
    assert seen.step == 4
    assert f"node-2: mkdir -p {tmp_path / 'out'} && cat > {tmp_path / 'out' / 'request.json'}" in asked.read_text()
    assert "exec env CHILD=well" in asked.read_text()


def test_when_one_machine_dies_the_others_are_ended(asked, tmp_path):
    with pytest.raises(UserError, match=r"on node-2 ended at step \d+ with code 1"):
        follow.run(two_machines(tmp_path / "out", "deaf", "crash"), tmp_path / "out", Silent())
    assert children() == []


def test_cancelling_stops_all_machines(asked, tmp_path):
    class Cancelling(Silent):
        def step(self, done, total=None, unit=""):
            if done == 3:
                raise Cancelled

    with pytest.raises(Cancelled):
        follow.run(two_machines(tmp_path / "out", "slow", "slow"), tmp_path / "out", Cancelling())
    assert f"node-2: touch {tmp_path / 'out' / 'stop'}" in asked.read_text()
    assert children() == []


def test_a_machine_that_will_not_stop_is_ended_through_ssh(asked, tmp_path):
    class Cancelling(Silent):
        def step(self, done, total=None, unit=""):
            if done == 3:
                raise Cancelled

    plan = two_machines(tmp_path / "out", "slow", "deaf")
    with pytest.raises(Cancelled):
        follow.run(replace(plan, launcher="torchrun"), tmp_path / "out", Cancelling(), patience=1)
    assert "kill -TERM" in asked.read_text()
    assert children() == []


def children() -> list[str]:
    """The talking children that are still there, a moment later."""
    time.sleep(0.3)
    below = psutil.Process().children(recursive=True)
    return [" ".join(one.cmdline()) for one in below if "tests.core.training_child" in " ".join(one.cmdline())]


def free() -> int:
    return preflight.free_port(29700)
