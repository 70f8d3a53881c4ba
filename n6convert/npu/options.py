"""Options of ST's compiler and settings of a board that change a prediction, read from a command line or a report."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from n6convert.errors import RecipeError
from n6convert.npu.ends import AS_MODELED, Ends

if TYPE_CHECKING:
    from n6convert.npu.st.facts import StReport
    from n6convert.npu.targets import Target
    from n6convert.recipe.schema import Recipe

__all__ = ["STOCK", "CompilerOptions", "of_recipe", "options_of", "target_of"]

_CLOCKS = re.compile(r"^\s*(\d+)\s*/\s*(\d+)\s*$")


@dataclass(frozen=True, slots=True)
class CompilerOptions:
    """How a model is compiled and a board is set up, where it differs from the target's stock profile."""

    ends: Ends = AS_MODELED
    """Element types and channel position of inputs and outputs."""
    allocate_inputs: bool = True
    """False: ``--no-inputs-allocation``, the application brings the buffers."""
    allocate_outputs: bool = True
    epoch_controller: bool | None = None
    """``--enable-epoch-controller``; None: as the target has it, on."""
    pools: str | Path | None = None
    """The project's own ``*.mpool`` instead of the stock one."""
    clocks: str | None = None
    """MHz of CPU and NPU: ``600/800``."""
    flash_mb_s: float | None = None
    """Rate at which weights stream from flash, as tuned or measured."""

    def on(self, target: Target) -> Target:
        """The target with these settings.

        Raises:
            RecipeError: clocks or rate are impossible.
            SourceError: the pool file is missing or damaged.
        """
        if self.pools is not None:
            target = target.with_pools(self.pools)
        if self.epoch_controller is not None:
            target = target.with_epoch_controller(self.epoch_controller)
        if self.clocks is not None:
            target = target.with_clocks(*_parsed(self.clocks))
        return target.with_flash(self.flash_mb_s) if self.flash_mb_s is not None else target

    def words(self) -> list[str]:
        """What a person reads of them, one phrase for each that was given."""
        named = {
            "--input-data-type": self.ends.input_type,
            "--output-data-type": self.ends.output_type,
            "--inputs-ch-position": self.ends.input_channels,
            "--outputs-ch-position": self.ends.output_channels,
            "--no-inputs-allocation": not self.allocate_inputs,
            "--no-outputs-allocation": not self.allocate_outputs,
            "pools of": self.pools,
        }
        return [name if value is True else f"{name} {value}" for name, value in named.items() if value]

    def settings(self) -> dict[tuple[str, ...], Any]:
        """The same as keys of a recipe, those that were given."""
        named = {
            ("package", "input_type"): self.ends.input_type,
            ("package", "output_type"): self.ends.output_type,
            ("compiler", "input_channels"): self.ends.input_channels,
            ("compiler", "output_channels"): self.ends.output_channels,
            ("compiler", "allocate_inputs"): None if self.allocate_inputs else False,
            ("compiler", "allocate_outputs"): None if self.allocate_outputs else False,
            ("compiler", "epoch_controller"): self.epoch_controller,
            ("compiler", "pools"): None if self.pools is None else str(self.pools),
            ("compiler", "clocks"): self.clocks,
            ("compiler", "flash_mb_s"): self.flash_mb_s,
        }
        return {key: value for key, value in named.items() if value is not None}


STOCK = CompilerOptions()
"""Nothing beyond the target's stock profile."""


def _parsed(clocks: str) -> tuple[int, int]:
    match = _CLOCKS.match(clocks)
    if match is None:
        raise RecipeError("clocks are written as MHz of CPU and NPU", found=clocks, limit="600/800")
    return int(match[1]), int(match[2])


def of_recipe(recipe: Recipe) -> CompilerOptions:
    """The options of a recipe: its section ``compiler``, and the types that its package is compiled with."""
    asked, package = recipe.compiler, recipe.package
    given, made = (None if kind == "int8" else kind for kind in (package.input_type, package.output_type))
    return CompilerOptions(
        Ends(given, made, asked.input_channels, asked.output_channels), asked.allocate_inputs, asked.allocate_outputs,
        asked.epoch_controller, asked.pools, asked.clocks, asked.flash_mb_s,
    )  # fmt: skip


def target_of(recipe: Recipe) -> Target:
    """The recipe's target, set up as its section ``compiler`` says.

    Raises:
        RecipeError: an unknown target, or impossible clocks or rate.
        SourceError: the pool file is missing or damaged.
    """
    from n6convert.npu.targets import load_target

    return of_recipe(recipe).on(load_target(recipe.target))


def options_of(report: StReport, given: CompilerOptions = STOCK) -> CompilerOptions:
    """The options that a report's command line names; what is ``given`` wins."""
    words = [word for one in report.parameters for word in one.split("=", 1)]

    def value(option: str) -> str | None:
        return words[words.index(option) + 1] if option in words[:-1] else None

    names = ("--input-data-type", "--output-data-type", "--inputs-ch-position", "--outputs-ch-position")
    ends = Ends(*map(value, names))
    clocks = report.board.clocks if report.board else {}
    found = CompilerOptions(
        ends=ends,
        allocate_inputs="--no-inputs-allocation" not in words if words else report.allocates_io,
        allocate_outputs="--no-outputs-allocation" not in words if words else report.allocates_io,
        epoch_controller=_controller(report),
        clocks=f"{clocks['cpu']}/{clocks['npu']}" if clocks.get("cpu") and clocks.get("npu") else None,
    )
    ends = replace(ends, **_given(given.ends, AS_MODELED))
    return replace(found, **(_given(given, STOCK) | {"ends": ends}))


def _controller(report: StReport) -> bool | None:
    """Whether the epoch controller was on: as epochs are printed or timed, or as the compiler was told; None: not
    said."""
    if report.counts is not None and report.counts.ec > 0 or "--enable-epoch-controller" in report.options:
        return True
    if report.board is not None and report.board.epoch_controller is not None:
        return report.board.epoch_controller
    return False if report.counts is not None or report.options else None


def _given(chosen: Any, stock: Any) -> dict[str, Any]:
    """Fields that differ from the stock value."""
    names = [field.name for field in fields(stock)]
    return {name: getattr(chosen, name) for name in names if getattr(chosen, name) != getattr(stock, name)}
