"""What an operation that trains and the process that trains say to each other: by files in the output folder.

    request.json     every setting, resolved: absolute paths, no `auto`, no 0 for "by itself"
    deepspeed.json   with ZeRO, named by `--deepspeed-config`: for TrainingArguments(deepspeed=…)
    metrics.jsonl    one object a line, appended by rank 0: `step`, `total_steps` and any of SHOWN. `seconds` counts
                     since the line before that had a loss; a `log` is a line for a person
    checkpoint-STEP  whole once `complete.json` stands in it
    result.json      written last: the training is finished; `steps`, `loss`, `eval_loss`, `tokens`, `verdict`
    stop             made by the operation, or by a person: the training saves at the end of its step and ends with 0,
                     all ranks at the same step. TERM to one rank's process means the same
    train.log        what the processes printed

A child that ends with 0 is done or was stopped; any other end is a failure, and its last lines tell why. A child that
knows a UserError prints it as a line of its own: `UserError: ` and its `to_dict()` as JSON.
"""

from __future__ import annotations

REQUEST = "request.json"
DEEPSPEED = "deepspeed.json"
METRICS = "metrics.jsonl"
STOP = "stop"
OUTPUT = "train.log"
RESULT = "result.json"
COMPLETE = "complete.json"
USER_ERROR = "UserError: "
SHOWN = ("loss", "eval_loss", "learning_rate", "grad_norm", "tokens_per_second", "memory")
