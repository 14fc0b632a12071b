"""From settings and machines to commands: byte by byte, without a GPU and without starting anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import UserError
from core.launchers import deepspeed, hosts
from core.launchers.finetune import FinetuneRequest
from core.launchers.hosts import Node
from core.launchers.plan import Place, Plan, plan

OUT = Path("/out")
CHILD = "--module train.finetune --request /out/request.json"
TWO = (Node("node-1", 2, 16), Node("ada@node-2", 2))


def made(nodes: tuple[Node, ...], *, cuda: bool = False, **settings) -> Plan:
    request = FinetuneRequest(base="/base", data=(Path("/rows.jsonl"),), out=OUT, **settings)
    place = Place(nodes, cuda, "/env/bin/python", Path("/studio"))
    return plan(request, "train.finetune", place, out=OUT, precision="bf16")


def commands(plan: Plan) -> list[str]:
    return [" ".join(start.argv) for start in plan.starts]


def test_one_process_is_python_itself():
    single = made((Node("localhost", 1, 8),))
    assert commands(single) == ["/env/bin/python -m train.finetune --request /out/request.json"]
    assert single.launcher == "python"
    assert list(single.files) == [OUT / "request.json"]
    assert single.starts[0].env == {
        "PYTHONPATH": "/studio",
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8:backslashreplace",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": "8",
        "CUDA_VISIBLE_DEVICES": "",
    }
    assert single.starts[0].cwd == Path("/studio")


def test_two_ranks_on_one_machine():
    two = (Node("localhost", 2, 8),)
    assert commands(made(two)) == [
        "/env/bin/python -m torch.distributed.run --nnodes=1 --nproc-per-node=2 --node-rank=0 "
        f"--master-addr=127.0.0.1 --master-port=29500 --max-restarts=0 {CHILD}"
    ]
    assert made(two).starts[0].env["OMP_NUM_THREADS"] == "4"
    assert commands(made(two, launcher="accelerate")) == [
        f"/env/bin/python -m accelerate.commands.launch --config_file /out/accelerate.yaml --machine_rank 0 {CHILD}"
    ]
    assert commands(made(two, launcher="deepspeed")) == [
        "/env/bin/python -m deepspeed.launcher.runner --hostfile /out/hostfile --no_ssh --node_rank 0 "
        f"--master_addr 127.0.0.1 --master_port 29500 --no_local_rank {CHILD}"
    ]


def test_two_machines_meet_at_the_first_ones_address():
    assert commands(made(TWO, port=4000)) == [
        f"/env/bin/python -m torch.distributed.run --nnodes=2 --nproc-per-node=2 --node-rank={rank} "
        f"--master-addr=node-1 --master-port=4000 --max-restarts=0 {CHILD}"
        for rank in (0, 1)
    ]
    assert commands(made(TWO, launcher="accelerate")) == [
        "/env/bin/python -m accelerate.commands.launch --config_file /out/accelerate.yaml "
        f"--machine_rank {rank} {CHILD}"
        for rank in (0, 1)
    ]
    assert commands(made(TWO, launcher="deepspeed")) == [
        f"/env/bin/python -m deepspeed.launcher.runner --hostfile /out/hostfile --no_ssh --node_rank {rank} "
        f"--master_addr node-1 --master_port 29500 --no_local_rank {CHILD}"
        for rank in (0, 1)
    ]


def test_the_files_beside_the_commands():
    accelerated = made(TWO, launcher="accelerate", cuda=True).files[OUT / "accelerate.yaml"]
    assert accelerated == (
        "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_GPU\nmixed_precision: 'no'\ndebug: false\n"
        "num_machines: 2\nnum_processes: 4\nmain_process_ip: node-1\nmain_process_port: 29500\nsame_network: true\n"
        "rdzv_backend: static\nuse_cpu: false\n"
    )
    assert made(TWO, launcher="deepspeed").files[OUT / "hostfile"] == "node-1 slots=2\nada@node-2 slots=2\n"


def test_zero_starts_deepspeed_with_a_configuration():
    zero = made((Node("localhost", 2),), zero=3, offload=True)
    assert zero.launcher == "deepspeed"
    assert commands(zero)[0].endswith(f"{CHILD} --deepspeed-config /out/deepspeed.json")
    assert zero.starts[0].env["DS_ACCELERATOR"] == "cpu"
    config = json.loads(zero.files[OUT / "deepspeed.json"])
    assert config["zero_optimization"]["stage"] == 3
    assert config["zero_optimization"]["offload_param"]["device"] == "cpu"
    assert config["bf16"] == {"enabled": True}
    assert config["fp16"] == {"enabled": False}
    second = json.loads(deepspeed.config_text(2, offload=True, precision="fp16", clip=0.5))
    assert second["zero_optimization"]["stage"] == 2
    assert second["zero_optimization"]["offload_optimizer"]["device"] == "cpu"
    assert second["fp16"] == {"enabled": True}
    assert second["gradient_clipping"] == 0.5


def test_chosen_gpus_reach_the_processes():
    cards = (Node("localhost", 2),)
    assert made(cards, cuda=True, devices=(1, 3)).starts[0].env["CUDA_VISIBLE_DEVICES"] == "1,3"
    assert "CUDA_VISIBLE_DEVICES" not in made(cards, cuda=True).starts[0].env
    by_deepspeed = made(cards, cuda=True, devices=(1, 3), launcher="deepspeed")
    assert "--include localhost:1,3" in commands(by_deepspeed)[0]
    assert by_deepspeed.files[OUT / "hostfile"] == "localhost slots=4\n"
    assert "CUDA_VISIBLE_DEVICES" not in by_deepspeed.starts[0].env


def test_what_a_launcher_cannot_do_is_said():
    with pytest.raises(UserError, match="single process"):
        made((Node("localhost", 2),), launcher="python")
    with pytest.raises(UserError, match="same number of processes"):
        made((Node("a", 1), Node("b", 2)), launcher="accelerate")


def test_a_plan_reads_as_what_would_be_typed_on_each_machine():
    lines = made(TWO).lines()
    assert lines[0] == "# machine 1 of 2: node-1"
    assert lines[1].startswith("cd /studio && PYTHONPATH=/studio ")
    assert lines[2] == "# machine 2 of 2: ada@node-2"
    assert "# file on every machine: /out/request.json" in lines


def test_a_hostfile_is_read_as_deepspeed_and_mpi_do(tmp_path):
    file = tmp_path / "hosts"
    file.write_text("# ours\nnode-1 slots=8\n\nada@10.0.0.2   slots=4 # new\nnode-3\n")
    assert hosts.read(file) == (Node("node-1", 8), Node("ada@10.0.0.2", 4), Node("node-3"))
    assert hosts.read(file)[1].address == "10.0.0.2"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no machine"),
        ("# nobody\n\n", "names no machine"),
        ("node-1\nnode-2 slots=none\n", "Line 2 of"),
        ("node-1 slots=0\n", "Line 1 of"),
        ("node-1 slots=2 max=3\n", "Line 1 of"),
        ("-oProxyCommand=sh\n", "Line 1 of"),
        ("node-1;reboot\n", "Line 1 of"),
        ("node-1\nnode-2\nnode-1 slots=2\n", "Line 3 of .* again; it stands in line 1"),
        ("node-1\nada@node-1\n", "Line 2 of .* again"),
    ],
)
def test_a_bad_hostfile_is_refused_by_its_line(tmp_path, text, said):
    file = tmp_path / "hosts"
    file.write_text(text)
    with pytest.raises(UserError, match=said):
        hosts.read(file)


def test_a_hostfile_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(UserError, match="can't be read"):
        hosts.read(tmp_path / "none")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not text"):
        hosts.read(tmp_path / "bytes")
