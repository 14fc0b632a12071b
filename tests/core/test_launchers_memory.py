"""What a training needs: known models come out as people found them, and each option saves what it promises."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.errors import UserError
from core.launchers import memory, settle
from core.launchers.memory import Shape, Training

GB = 1e9


def llama(hidden: int, inner: int, layers: int, vocabulary: int = 32_000) -> Shape:
    linears = []
    for layer in range(layers):
        at = f"model.layers.{layer}"
        linears += [(f"{at}.self_attn.{name}_proj", hidden, hidden) for name in "qkvo"]
        linears += [(f"{at}.mlp.{name}_proj", inner, hidden) for name in ("gate", "up")]
        linears += [(f"{at}.mlp.down_proj", hidden, inner)]
    count = sum(outputs * inputs for _, outputs, inputs in linears) + 2 * vocabulary * hidden
    return Shape(count, layers, hidden, vocabulary, tuple(linears), 2048, 2 * count)


SEVEN = llama(4096, 11_008, 32)
THIRTEEN = llama(5120, 13_824, 40)
HOW = Training("lora", "bf16", 512, True, 16, (), 0.05, 0, False, 1, 1, True, 2)


def test_the_parameters_of_known_models():
    assert SEVEN.parameters == pytest.approx(6.74e9, rel=0.01)
    assert THIRTEEN.parameters == pytest.approx(13.0e9, rel=0.01)
    assert SEVEN.adapter(16, ())[0] == 39_976_960  # as PEFT counts all seven projections
    assert SEVEN.adapter(8, ("q_proj", "v_proj"))[0] == 4_194_304  # as PEFT counts alpaca-lora


def test_what_fits_where_is_what_people_found():
    lora = memory.needs(SEVEN, HOW).vram / GB
    assert 14 < lora < 24  # a 24 GB card trains 7B by LoRA in bf16
    assert memory.needs(SEVEN, replace(HOW, method="qlora")).vram / GB < 10  # and a 12 GB one by QLoRA
    assert memory.needs(THIRTEEN, replace(HOW, method="full")).vram / GB > 200  # 16 bytes a parameter
    shared = replace(HOW, method="full", zero=3, ranks=8, local=8)
    assert memory.needs(THIRTEEN, shared).vram / GB < 40


def test_each_option_saves_what_it_promises():
    plain = replace(HOW, method="full", checkpointing=False, ranks=4, local=4)

    def vram(**changed) -> int:
        return memory.needs(SEVEN, replace(plain, **changed)).vram

    assert vram(checkpointing=True) < vram()
    assert vram() > vram(zero=2) > vram(zero=3) > vram(zero=3, offload=True)
    moved, kept = (memory.needs(SEVEN, replace(plain, zero=3, offload=offload)).ram for offload in (True, False))
    assert moved > kept
    assert vram(tokens=2048) > vram(tokens=512)
    on_processor = memory.needs(SEVEN, replace(plain, cuda=False))
    assert on_processor.vram is None
    assert on_processor.ram > 4 * 12 * SEVEN.parameters


def test_passes_and_checkpointing_are_chosen_by_what_is_free():
    def chosen(free: float, tokens: int = 0, checkpointing: str = "auto") -> tuple[int, bool]:
        made = settle.sized(SEVEN, HOW, 512, tokens, checkpointing, int(free))
        return made.tokens, made.checkpointing

    assert chosen(80 * GB) == (4096, False)
    assert chosen(24 * GB)[1]
    assert chosen(24 * GB)[0] >= 512
    assert chosen(1 * GB) == (512, True)  # nothing fits: the least there is, and `shortages` says so
    assert chosen(80 * GB, tokens=1024) == (1024, False)
    assert chosen(80 * GB, checkpointing="on") == (16_384, True)


def test_formats_follow_the_hardware():
    old = settle.Here(gpus=1, cores=4, ram_free=1, vram_free=1, gpu_bf16=False, cpu_bf16=False)
    new = replace(old, gpu_bf16=True, cpu_bf16=True)
    assert [settle.precision("auto", here, cuda=True) for here in (old, new)] == ["fp16", "bf16"]
    assert [settle.precision("auto", here, cuda=False) for here in (old, new)] == ["fp32", "bf16"]
    assert settle.precision("fp32", new, cuda=True) == "fp32"
    with pytest.raises(UserError, match="don't train in fp16"):
        settle.precision("fp16", new, cuda=False)


def test_time_grows_with_the_work_and_shrinks_with_the_machines():
    def seconds(**changed) -> float:
        return memory.seconds(SEVEN, replace(HOW, **changed), 1e7, cores=8)

    assert seconds(method="full") > seconds() > seconds(checkpointing=False)
    assert seconds(ranks=8) < seconds()
    assert seconds(cuda=False) > 50 * seconds()
