"""What an operation that trains and the process that trains say to each other: by files in the output folder.

    request.json    every setting, resolved: nothing is `auto` or 0-for-automatic any more; written by the operation
    metrics.jsonl   one object a line, appended and flushed by rank 0: any of
                    {"step", "total_steps", "loss", "learning_rate", "grad_norm", "tokens", "tokens_per_second",
                     "memory", "eval_loss", "seconds", "log"}; `tokens` and `seconds` count from the start of this
                    call, `log` is a line for a person
    stop            made by the operation, or by a person: the training saves at the end of its step and ends with 0,
                    all ranks at the same step. TERM to any rank means the same.

A run that ends with 0 is done or was stopped; any other end is a failure whose last output lines tell why. A child
that knows a UserError prints it as the last line: `UserError: ` and its `to_dict()` as JSON.
"""

from __future__ import annotations

REQUEST = "request.json"
METRICS = "metrics.jsonl"
STOP = "stop"
OUTPUT = "train.log"
"""What the processes printed."""
DEEPSPEED = "deepspeed.json"
USER_ERROR = "UserError: "
