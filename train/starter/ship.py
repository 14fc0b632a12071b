"""`python -m train.starter.ship ADAPTER SCORES`: a trained adapter into assets/starter-adapter, in 16 bits.

SCORES is the last line of benchmarks/starter_scores.py, kept in a file: what the card tells was measured.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from core import paths
from core.models import ADAPTER_CONFIG, Card, write_card

PLACE = paths.PROJECT / "assets" / "starter-adapter"
WEIGHTS = "adapter_model.safetensors"
MOST_BYTES = 25_000_000
TITLE = "SmolLM2 135M, tuned for extraction"
SETS = {
    "re-fewrel": "relations, kept-out FewRel rows, 14 types asked",
    "re-unseen": "relations of two FewRel types that no training row named, 14 types asked",
    "re-unseen6": "the same rows, asked for those two and four other types",
    "re-semeval": "relations, kept-out SemEval-2010 task 8 rows",
    "ner": "entities, kept-out CrossNER dev rows, five domains, 22 to 30 types asked",
    "ee": "events, generated rows with kept-out templates, triggers and names",
    "eehand": "events, sentences written by hand before anything was trained",
}
DATA = """\
Trained by `python -m core train finetune` with the settings of `train/configs/starter.yaml` on rows made by
`python -m core train starter-data`: CrossNER (Liu et al. 2021, MIT), WNUT-17 (CC BY 4.0), FewRel's validation part
(Han et al. 2018, MIT) and SemEval-2010 task 8 (Hendrickx et al. 2010, CC BY 3.0), asked for under varied schemas, on
generated sentences and on 3,963 written for it (`train/starter`). The published data are not in this repository."""


def ship(adapter: Path, scores: dict[str, Any], note: str) -> None:
    """Raises ValueError if it is larger than may be shipped."""
    import torch
    from safetensors.torch import load_file, save_file

    PLACE.mkdir(parents=True, exist_ok=True)
    halved = {name: tensor.to(torch.float16).contiguous() for name, tensor in load_file(adapter / WEIGHTS).items()}
    temporary = PLACE / (WEIGHTS + ".tmp")
    save_file(halved, temporary, metadata={"format": "pt"})
    if temporary.stat().st_size > MOST_BYTES:
        size = temporary.stat().st_size
        temporary.unlink()
        raise ValueError(f"the adapter has {size:,} bytes, more than {MOST_BYTES:,}")
    temporary.chmod(0o644)
    temporary.replace(PLACE / WEIGHTS)
    told = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    told |= {"base_model_name_or_path": "starter-base/hf", "inference_mode": True}
    (PLACE / ADAPTER_CONFIG).write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    write_card(
        PLACE,
        Card(
            title=TITLE,
            languages=("en",),
            license="Apache-2.0",
            source="trained for KnowLM Studio (train/configs/starter.yaml)",
            dialect="studio",
            prompt_form="raw",
            trained_for_extraction=True,
        ),
    )
    (PLACE / "README.md").write_text(_readme(told, scores, note), encoding="utf-8")


def _readme(config: dict[str, Any], scores: dict[str, Any], note: str) -> str:
    rows = [
        f"| {what} | {made['rows']} | {_before(made)} | {made['f1']:.3f} | {made['interval'][0]:.3f} – "
        f"{made['interval'][1]:.3f} |"
        for name, what in SETS.items()
        if (made := scores.get(name))
    ]
    return "\n".join(
        [
            "---",
            "license: apache-2.0",
            "language: en",
            "library_name: peft",
            "---",
            f"# {TITLE}",
            "",
            f"A LoRA of rank {config['r']} on all linear layers of SmolLM2-135M-Instruct (Apache-2.0), for the studio",
            "prompt, version 1. English only. `models starter` merges it into the starter and writes it as GGUF.",
            "",
            DATA,
            "",
            "Strict micro-F1 (offsets must match, arguments need their trigger), greedy, grammar on, merged, Q8_0:",
            "",
            "| set | rows | without | with | 95% |",
            "|---|---|---|---|---|",
            *rows,
            "",
            *([note, ""] if note else []),
        ]
    )


def _before(made: dict[str, Any]) -> str:
    return f"{made['before']:.3f}" if "before" in made else "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapter", type=Path)
    parser.add_argument("scores", type=Path)
    parser.add_argument("--note", default="")
    given = parser.parse_args()
    ship(given.adapter, json.loads(given.scores.read_text(encoding="utf-8").strip().splitlines()[-1]), given.note)


if __name__ == "__main__":
    main()
