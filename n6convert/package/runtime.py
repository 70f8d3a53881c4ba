"""C that runs the compiled network on the board, for both of ST's runtimes, and the self-test on top of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files

from n6convert.operators.versions import has
from n6convert.package.ports import Port

__all__ = ["runtime_sources"]


def runtime_sources(
    stem: str,
    network: str,
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    *,
    version: tuple[int, int],
    allocated: tuple[bool, bool] = (True, True),
) -> dict[str, str]:
    """``<stem>_run.h``, ``<stem>_run.c`` and ``<stem>_selftest_run.c``.

    Args:
        stem: prefix of the package's symbols.
        network: name that the network is compiled with (``--name``); ST's symbols carry it.
        version: of ST Edge AI Core; up to 2.2 networks run by ``LL_ATON_RT_Main``, from 3.0 by ``stai_<network>_run``.
        allocated: whether the compiler makes the buffers of inputs, and of outputs.
    """
    upper, stai = network.upper(), str(int(has(version, "stai_runtime")))
    words = {
        "STEM": stem, "PREFIX": stem.upper(), "NAME": network, "UPPER": upper, "STAI": stai,
        "INPUTS_BROUGHT": str(int(not allocated[0])), "OUTPUTS_BROUGHT": str(int(not allocated[1])),
        "STAI_SIZES": "\n".join([*_sizes(stem, upper, "IN", len(inputs)), *_sizes(stem, upper, "OUT", len(outputs))]),
        "GIVEN": ", ".join(f"{stem}_selftest_input_{i}" for i in range(len(inputs))),
    }  # fmt: skip
    names = {f"{stem}_run.h": "run.h", f"{stem}_run.c": "run.c", f"{stem}_selftest_run.c": "selftest_run.c"}
    return {name: _filled(template, words) for name, template in names.items()}


def _sizes(stem: str, upper: str, end: str, count: int) -> list[str]:
    """One comparison a buffer: the network's own header against the package."""
    table, wrong = f"{stem}_{'inputs' if end == 'IN' else 'outputs'}", f"{stem.upper()}_WRONG_NETWORK"
    return [
        f"  if ((uint32_t)STAI_{upper}_{end}_{i + 1}_SIZE_BYTES != {table}[{i}].size) return {wrong};"
        for i in range(count)
    ]


def _filled(name: str, words: Mapping[str, str]) -> str:
    text = (files(__package__) / "c" / name).read_text(encoding="utf-8")
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text
