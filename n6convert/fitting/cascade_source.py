"""Header, source and scripts that tie the packages of a cascade together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from n6convert.escaping import c_identifier
from n6convert.package.csource import GENERATED, guarded

if TYPE_CHECKING:
    from n6convert.fitting.plan import FlashRegion

__all__ = ["Turn", "cascade_files"]

_LINE = 32


@dataclass(frozen=True)
class Turn:
    """One package of a cascade.

    Attributes:
        network: its name, which is also the name of its folder.
        stem: prefix of its symbols.
        headers: that an application includes.
        sizes: bytes of its output buffers.
        waiting: address where its results wait while later networks run; None where nothing waits.
        waiting_pool: the pool of that address.
        waiting_size: bytes there, every buffer on cache lines of its own.
    """

    network: str
    stem: str
    headers: Sequence[str]
    sizes: Sequence[int]
    waiting: int | None = None
    waiting_pool: str = ""
    waiting_size: int = 0

    @property
    def name(self) -> str:
        """The network's name as an identifier of C."""
        return c_identifier(self.network)


def cascade_files(target: str, turns: Sequence[Turn], flash: Sequence[FlashRegion]) -> dict[str, str]:
    """``n6_cascade.h``, ``n6_cascade.c``, ``generate.sh`` and ``generate.bat`` by name.

    Args:
        target: board and compiler version.
        turns: networks in the order in which they run.
        flash: where each one's weights lie.
    """
    return {
        "n6_cascade.h": _header(turns),
        "n6_cascade.c": _source(turns),
        "generate.sh": _shell(target, turns, flash),
        "generate.bat": _batch(target, turns, flash),
    }


def _header(turns: Sequence[Turn]) -> str:
    includes = [f'#include "{name}"' for turn in turns for name in turn.headers]
    names = ", ".join(turn.network for turn in turns)
    body = [
        *includes,
        "",
        f"/* {len(turns)} networks that take turns: {names}.",
        "   They share the RAM for activations: the next overwrites the outputs of one, but for copies that wait. */",
        f"#define N6_CASCADE_NETWORKS ({len(turns)})",
        *(line for turn in turns for line in _waiting_lines(turn)),
        "",
        "/* All networks, once: 0, or what failed. */",
        "int n6_cascade_init(void);",
        "",
        "/* The self-test of every network, one after the other: 1 where all pass. */",
        "int n6_cascade_selftest(void);",
        "",
        "/* What the application does in a frame; context is passed through. */",
        "typedef struct {",
        *(line for turn in turns for line in _steps(turn)),
        "} n6_cascade_application_t;",
        "",
        "/* One frame: for every network in turn fill, run, use. Ends early where a `use` returns 0.",
        "   Returns 0, or what the runtime returned. */",
        "int n6_cascade_frame(const n6_cascade_application_t *application, void *context);",
    ]
    return guarded("n6_cascade", "\n".join(body))


def _waiting_lines(turn: Turn) -> list[str]:
    if turn.waiting is None:
        return []
    head = f"#define N6_CASCADE_{turn.name.upper()}_WAITING"
    return [
        f"#ifndef N6_CASCADE_{turn.name.upper()}_WAITING",
        f"{head} (0x{turn.waiting:08X}u) /* {turn.waiting_pool}: its outputs while later networks run */",
        "#endif",
        f"{head}_SIZE ({turn.waiting_size}u)",
    ]


def _steps(turn: Turn) -> list[str]:
    return [
        f"  void (*fill_{turn.name})(void *context); /* write {turn.stem}_input(...) */",
        f"  int (*use_{turn.name})(void *context, const {turn.stem}_output_t *const *outputs);",
    ]


def _source(turns: Sequence[Turn]) -> str:
    first, *others = turns
    begin = [f"  int code = {first.stem}_init();"]
    begin += [f"  if (code == 0) code = {turn.stem}_init_beside();" for turn in others]
    tests = [f"  passed = {turn.stem}_selftest_run() && passed;" for turn in turns]
    parts = [
        GENERATED,
        '#include "n6_cascade.h"',
        "",
        "#include <string.h>",
        "",
        *(_keeper(turn) for turn in turns if turn.waiting is not None),
        "int n6_cascade_init(void)\n{\n" + "\n".join([*begin, "  return code;"]) + "\n}\n",
        "int n6_cascade_selftest(void)\n{\n  int passed = 1;\n" + "\n".join([*tests, "  return passed;"]) + "\n}\n",
        "int n6_cascade_frame(const n6_cascade_application_t *application, void *context)\n{\n  int code;",
        *(_frame(turn, turn is turns[-1]) for turn in turns),
        "  return 0;\n}\n",
    ]
    return "\n".join(parts)


def _keeper(turn: Turn) -> str:
    """A function that copies a network's outputs to where they wait."""
    copies, offset = [], 0
    for index, size in enumerate(turn.sizes):
        place = f"N6_CASCADE_{turn.name.upper()}_WAITING + {offset}u"
        source = f"memcpy((void *)(uintptr_t)({place}), outputs[{index}], {size}u)"
        copies.append(f"  kept[{index}] = (const {turn.stem}_output_t *){source};")
        offset += -(-size // _LINE) * _LINE
    head = f"static const {turn.stem}_output_t *const *keep_{turn.name}(const {turn.stem}_output_t *const *outputs)"
    body = [f"  static const {turn.stem}_output_t *kept[{len(turn.sizes)}];", *copies, "  return kept;"]
    return f"{head}\n{{\n" + "\n".join(body) + "\n}\n"


def _frame(turn: Turn, last: bool) -> str:
    outputs = f"{turn.stem}_results()"
    if turn.waiting is not None:
        outputs = f"keep_{turn.name}({outputs})"
    use = f"application->use_{turn.name}(context, {outputs})"
    return "\n".join([
        f"  application->fill_{turn.name}(context);",
        f"  code = {turn.stem}_run();",
        "  if (code != 0) return code;",
        f"  (void){use};" if last else f"  if (!{use}) return 0;",
    ])  # fmt: skip


def _shell(target: str, turns: Sequence[Turn], flash: Sequence[FlashRegion]) -> str:
    lines = ["#!/bin/sh", f"# Compiles all packages of this cascade for {target}.", "set -e", 'cd "$(dirname "$0")"']
    for turn, region in zip(turns, flash, strict=True):
        weights = f"{turn.network}/{turn.network}_weights.bin"
        lines += [
            f"./{turn.network}/generate.sh",
            f'if [ -f {weights} ] && [ "$(wc -c < {weights})" -gt {region.weights} ]; then',
            f'  echo "{weights} is larger than the {region.weights} bytes that are reserved for it" >&2',
            "  exit 1",
            "fi",
        ]
    return "\n".join([*lines, ""])


def _batch(target: str, turns: Sequence[Turn], flash: Sequence[FlashRegion]) -> str:
    lines = ["@echo off", f"rem Compiles all packages of this cascade for {target}.", 'cd /d "%~dp0"']
    for turn, region in zip(turns, flash, strict=True):
        weights = f"{turn.network}\\{turn.network}_weights.bin"
        lines += [
            f"call {turn.network}\\generate.bat || exit /b 1",
            'cd /d "%~dp0"',
            f"if exist {weights} for %%F in ({weights}) do if %%~zF GTR {region.weights} (",
            f"  echo {weights} is larger than the {region.weights} bytes that are reserved for it 1>&2",
            "  exit /b 1",
            ")",
        ]
    return "\r\n".join([*lines, ""])
