"""How an answer is chosen: the decoding settings, their bounds and what they mean."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

LARGEST_SEED = 2**32 - 2
"""llama.cpp reads 2**32 - 1 as "choose one"."""


class Decoding(BaseModel):
    """Greedy unless asked otherwise: the same text gives the same answer."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    temperature: float = Field(
        default=0.0, ge=0, le=5, description="0 always takes the likeliest token; higher is more varied"
    )
    top_p: float = Field(
        default=1.0, gt=0, le=1, description="Choose among the likeliest tokens that together reach this probability"
    )
    top_k: int = Field(default=0, ge=0, le=1000, description="Choose among this many likeliest tokens; 0 means all")
    beams: int = Field(default=1, ge=1, le=16, description="Answers followed side by side; the likeliest one is kept")
    max_tokens: int = Field(
        default=512,
        ge=1,
        le=65_536,
        description="Longest answer; it is cut there",
        json_schema_extra={"unit": "tokens"},
    )
    repetition_penalty: float = Field(
        default=1.0, ge=0.5, le=2, description="Above 1, tokens that stand in the text already become less likely"
    )
    seed: int | None = Field(
        default=None, ge=0, le=LARGEST_SEED, description="The same seed gives the same answer; empty chooses one"
    )
