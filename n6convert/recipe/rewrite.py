"""The recipe's ``rewrite`` section."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["RewriteConfig"]


class RewriteConfig(BaseModel):
    """Which rewrites run."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    rules: Literal["auto", "none"] | list[str] = Field(
        "auto", description="`auto`: every exact rule that does not cost predicted time; `none`; or a list of names"
    )
    combination: Literal["A", "B", "C", "D"] | None = Field(
        None, description="instead of `rules`: one of the lowerings of a transformer that the estimate compares"
    )
    exclude: list[str] = Field(default_factory=list, description="rules that must not run")
    approximate: list[str] = Field(default_factory=list, description="approximate rules that may run, by name")
    recurrent_steps: int = Field(
        128,
        ge=0,
        description="an LSTM, GRU or RNN of more steps is refused instead of unrolled; a step costs about five epochs",
    )
    tolerance: float = Field(1e-4, gt=0, description="largest allowed difference relative to the output's range")
