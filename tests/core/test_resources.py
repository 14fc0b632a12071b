"""What is free is what the container may use, not what the machine has."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import resources
from core.operation import Needs


def write_cgroup(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize("version", [1, 2])
def test_ram_is_that_of_the_container(version, tmp_path, monkeypatch):
    gigabyte = 1 << 30
    if version == 2:
        write_cgroup(
            tmp_path,
            memory_dot_max=str(2 * gigabyte),
            memory_dot_current=str(gigabyte),
            memory_dot_stat=f"anon 1\ninactive_file {gigabyte // 2}\n",
        )
    else:
        write_cgroup(
            tmp_path,
            memory__memory_dot_limit_in_bytes=str(2 * gigabyte),
            memory__memory_dot_usage_in_bytes=str(gigabyte),
            memory__memory_dot_stat=f"total_inactive_file {gigabyte // 2}\n",
        )
    monkeypatch.setattr(resources, "CGROUP", tmp_path)
    total, free = resources.ram()
    assert total == 2 * gigabyte
    assert free <= 1.5 * gigabyte


def test_a_container_without_a_limit_has_the_machines_memory(tmp_path, monkeypatch):
    write_cgroup(tmp_path, memory_dot_max="max\n", memory_dot_current="1", memory_dot_stat="inactive_file 0\n")
    monkeypatch.setattr(resources, "CGROUP", tmp_path)
    total, free = resources.ram()
    assert 0 < free <= total


def test_every_shortage_names_both_numbers(workspace):
    impossible = 1 << 60
    errors = resources.shortages(
        Needs(ram=impossible, vram=impossible, disk=impossible, disk_at=workspace / "new" / "x")
    )
    assert len(errors) == 3
    assert all("1.15e+06 TB" in str(error) for error in errors)
    assert resources.shortages(Needs(ram=1, disk=1)) == []


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 B"), (999, "999 B"), (92_871_040, "92.9 MB"), (26_000_000_000, "26 GB")]
)
def test_sizes_read_as_people_buy_them(count, words):
    assert resources.size(count) == words


def test_cores_are_those_of_the_container(tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "CGROUP", tmp_path)
    free = resources.cores()
    for quota, cores in (("50000 100000", 1), ("max 100000", free), ("1600000 100000", free)):
        write_cgroup(tmp_path, cpu_dot_max=quota)
        assert resources.cores() == cores
