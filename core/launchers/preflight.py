"""Before a training on several machines: can each be reached, has each the same, and can they meet?

What is asked of each machine is planned purely (`questions`); `check` asks it.
"""

from __future__ import annotations

import json
import shlex
import socket
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core import paths
from core.errors import UserError
from core.launchers import probe, ssh
from core.launchers.hosts import Node

MARK = "{"
AT_ONCE = 16


@dataclass(frozen=True)
class Question:
    """One machine is asked `line` in a shell."""

    host: str
    line: str

    @property
    def argv(self) -> tuple[str, ...]:
        return ssh.command(self.host, self.line)


def questions(
    nodes: Sequence[Node], needed: Sequence[Path], *, python: str = sys.executable, project: Path = paths.PROJECT
) -> tuple[Question, ...]:
    """What is asked of the machines after the first, which is this one: versions, GPUs, which paths it lacks."""
    words = (python, "-m", "core.launchers.probe", *map(str, needed))
    line = f"cd {shlex.quote(str(project))} && exec env PYTHONPATH={shlex.quote(str(project))} {shlex.join(words)}"
    return tuple(Question(node.name, line) for node in nodes[1:])


def check(nodes: Sequence[Node], needed: Sequence[Path], port: int) -> tuple[Node, ...]:
    """The machines with their slots and cores filled in. Raises UserError: the first thing that is wrong."""
    refuse_foreign_first(nodes[0])
    refuse_busy(port)
    own = probe.found([str(path) for path in needed])
    asked = questions(nodes, needed)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(_answer, asked))
    made = [filled(nodes[0], own, own)]
    for node, answer in zip(nodes[1:], answers, strict=True):
        compare(node.name, own, answer)
        made.append(filled(node, answer, own))
    return tuple(made)


def _answer(question: Question) -> dict[str, Any]:
    done = ssh.run(question.host, question.line)
    for line in reversed(done.stdout.splitlines()):  # a login script may print what it likes before
        if line.startswith(MARK):
            with suppress(ValueError):
                return json.loads(line)
    if done.returncode == 255:
        raise UserError(
            "{host} can't be reached with ssh: {why}",
            remedy="Make `ssh {host}` work from this machine without a password: copy your public key there, and "
            "accept its host key once.",
            host=question.host,
            why=ssh.last_line(done.stderr),
        )
    raise UserError(
        "On {host} the program does not run under the same path as here: {why}",
        remedy="Put the same folder {project} with its Python environment on every machine, or on a shared disk.",
        host=question.host,
        project=paths.PROJECT,
        why=ssh.last_line(done.stderr or done.stdout),
    )


def compare(host: str, own: dict[str, Any], other: dict[str, Any]) -> None:
    """Raises UserError where a machine differs from this one in what a training needs to be the same."""
    if other["missing"]:
        raise UserError(
            "{host} lacks {paths}.",
            remedy="Put them there under the same paths, or on a shared disk.",
            host=host,
            paths=", ".join(other["missing"]),
        )
    here, there = ({"python": made["python"], **made["packages"]} for made in (own, other))
    differing = [
        f"{name} {there.get(name, '–')} ({here.get(name, '–')})"
        for name in {**here, **there}
        if here.get(name) != there.get(name)
    ]
    if differing:
        raise UserError(
            "{host} has other versions than this machine (in brackets): {versions}.",
            remedy="Install the same versions everywhere, with `pip install -r requirements-train.txt`.",
            host=host,
            versions=", ".join(differing),
        )


def filled(node: Node, answer: dict[str, Any], own: dict[str, Any]) -> Node:
    """Slots are the GPUs that are there, unless the hostfile names fewer. Raises UserError where it names more."""
    gpus = answer["gpus"]
    slots = node.slots or gpus or 1
    if bool(gpus) != bool(own["gpus"]):
        raise UserError(
            "{host} has {count} GPUs that torch can use, this machine {own}: they can't train together.",
            remedy="Take the machines without GPUs out of the hostfile, or install torch for CUDA there.",
            host=node.name,
            count=gpus,
            own=own["gpus"],
        )
    if gpus and slots > gpus:
        raise UserError(
            "{host} has {count} GPUs that torch can use; the hostfile says slots={slots}.",
            remedy="Correct its slots in the hostfile.",
            host=node.name,
            count=gpus,
            slots=slots,
        )
    return replace(node, slots=slots, cores=answer["cores"])


def refuse_foreign_first(node: Node) -> None:
    """The first machine starts the others, reads the metrics and keeps the result: it must be this one."""
    try:
        addresses = {found[4][0] for found in socket.getaddrinfo(node.address, None)}
    except OSError as error:
        raise UserError(
            "The name {host} can't be found.",
            remedy="Correct it in the hostfile, or use the machine's address.",
            host=node.address,
        ) from error
    if not any(_is_ours(str(address)) for address in addresses):
        raise UserError(
            "{host}, the first machine of the hostfile, is not this machine.",
            remedy="Start the training there, put this machine first, or run the commands of --dry-run yourself.",
            host=node.address,
        )


def _is_ours(address: str) -> bool:
    """An address can be bound to only where it lives."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.bind((address.partition("%")[0], 0))
    except OSError:
        return False
    return True


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind(("", port))
        except OSError:
            return False
    return True


def refuse_busy(port: int) -> None:
    if not is_free(port):
        raise UserError(
            "Port {port}, where the processes are to meet, is taken.", remedy="Choose another with --port.", port=port
        )


def free_port(first: int) -> int:
    """That port, or the next free one: on a single machine nobody else has to know it."""
    return next((port for port in range(first, min(first + 200, 65536)) if is_free(port)), first)
