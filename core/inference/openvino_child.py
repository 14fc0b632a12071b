"""`python -m core.inference.openvino_child`: OpenVINO's pipeline in a process of its own; JSON lines in and out.

Of its own, because the library holds Python's lock through every step, a file cut short crashes it, and an
error in a step leaves it unusable. One loop takes what is asked, admits what has room, steps for all, and tells
the new tokens. It ends when its input does.
"""

from __future__ import annotations

import gc
import json
import os
import queue
import signal
import sys
import threading
from typing import Any

from core.inference.openvino_schedule import Job, Scheduler, first_line

PROBE = "Marie Curie (1867–1934) didn't  stop\n\tin 巴黎, 12345."
"""Cut into the same tokens by two tokenizers, they are the same one."""


def stay_silent() -> None:
    """Importing the library tells its makers so, from a copy of the process: without this module it doesn't."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]


class Pipeline:
    """The library's pipeline, and how it is built."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._given = given
        self._pipeline: Any = None
        self.build()

    def build(self) -> None:
        import openvino_genai as genai

        self._pipeline = None
        gc.collect()  # never two in memory
        plan = genai.SchedulerConfig()
        plan.enable_prefix_caching = True
        plan.max_num_seqs = self._given["parallel"]
        plan.max_num_batched_tokens = self._given["batch"]
        plan.num_kv_blocks = self._given["blocks"]
        properties = {
            # in 16 bits, an answer would depend on what else is in the batch
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": self._given["threads"],
            "ENABLE_CPU_PINNING": False,  # other programs want the same cores
            "sampler_num_threads": self._given["threads"],
        }
        self._pipeline = genai.ContinuousBatchingPipeline(self._given["path"], plan, "CPU", properties, {})

    def told(self) -> dict[str, Any]:
        tokenizer, config = self._pipeline.get_tokenizer(), self._pipeline.get_config()
        ends = {tokenizer.get_eos_token_id(), config.eos_token_id, *config.stop_token_ids}
        probe = tokenizer.encode(PROBE, add_special_tokens=False).input_ids.data[0].tolist()
        return {"ends": sorted(end for end in ends if end >= 0), "probe": probe}

    def start(self, job: Job) -> Any:
        import numpy
        import openvino
        import openvino_genai as genai

        config = genai.GenerationConfig()
        for name, value in job.settings.items():
            setattr(config, name, set(value) if name == "stop_token_ids" else value)
        if job.grammar is not None:
            config.structured_output_config = genai.StructuredOutputConfig()
            config.structured_output_config.grammar = job.grammar
        ids = openvino.Tensor(numpy.array([job.ids], dtype=numpy.int64))
        return self._pipeline.add_request(job.number, ids, config)

    def step(self) -> None:
        self._pipeline.step()

    def clear(self) -> None:
        """Let go of what was cancelled."""
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()


class _Lines:
    """Commands from the parent, read in a thread; what is told back goes to the parent alone."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)  # what libraries print goes to the log
        self._in: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin.buffer:
            self._in.put(json.loads(line))
        os._exit(0)  # the parent is gone

    def take(self, *, wait: bool) -> list[dict[str, Any]]:
        taken = [self._in.get()] if wait else []
        while not self._in.empty():
            taken.append(self._in.get())
        return taken

    def tell(self, **message: Any) -> None:
        self._out.write(json.dumps(message).encode() + b"\n")
        self._out.flush()


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the parent's to answer
    lines = _Lines()
    given = lines.take(wait=True)[0]
    stay_silent()
    try:
        pipeline = Pipeline(given)
        lines.tell(ready=pipeline.told())
    except Exception as error:  # noqa: BLE001 - told to the parent
        lines.tell(failed=first_line(error))
        return
    scheduler = Scheduler(pipeline, given)
    while True:
        commands = lines.take(wait=not scheduler.busy())
        for command in commands:
            if "add" in command:
                scheduler.add(command)
        cancelled = [command["cancel"] for command in commands if "cancel" in command]
        ended = scheduler.cancel(cancelled) if cancelled else {}
        ended |= scheduler.admit()
        tokens: dict[int, list[int]] = {}
        if scheduler.running:
            tokens, over = scheduler.step()
            ended |= over
        if tokens or ended:
            lines.tell(tokens=list(tokens.items()), ended=list(ended.items()))


if __name__ == "__main__":
    main()
