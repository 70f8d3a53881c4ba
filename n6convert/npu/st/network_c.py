"""``network.c``: epoch ids and classes from the table of epoch blocks, when nothing else is there ([#files])."""

from __future__ import annotations

import re
from pathlib import Path

from n6convert.errors import SourceError
from n6convert.npu.st.facts import StCounts, StEpoch, StReport, count_ops
from n6convert.npu.st.report import known_core
from n6convert.npu.st.text import read_lines

__all__ = ["read_network_c"]

_BLOCK = re.compile(r"\.flags = ([^,]*),.*?\.epoch_num = (\d+),.*?\.last_epoch_num = (\d+),", re.DOTALL)
_KIND = re.compile(r"/\* scheduling epoch=(\d+)\s(?:(?!/\* scheduling).)*?kind=(\w+)", re.DOTALL)
_CORE = re.compile(r'GIT_BRANCH\s+"STAI-(\d+\.\d+)"')
_ATONN = re.compile(r'GIT_DESCRIPTION\s+"atonn-v([\d.]+-\d+)')


def read_network_c(path: str | Path) -> StReport:
    """Epoch counts of a generated network.c.

    Raises:
        SourceError: no table of epoch blocks in it.
    """
    text = "\n".join(read_lines(path))
    blocks = [(flags, int(first), int(last)) for flags, first, last in _BLOCK.findall(text)]
    executed = [block for block in blocks if "last_eb" not in block[0]]
    if not executed or "EpochBlockItems" not in text:
        raise SourceError("no table of epoch blocks in this file", place=path, limit="a network.c written by atonn")
    core, atonn = _CORE.search(text), _ATONN.search(text)
    kinds = dict(_KIND.findall(text))
    epochs = [epoch for block in _without_return(executed) for epoch in _epochs(*block, kinds)]
    return StReport(
        sources=(str(path),),
        core_version=known_core(core.group(1), str(path)) if core else None,
        atonn_version=atonn.group(1) if atonn else None,
        counts=_counts(epochs),
        epochs=epochs,
        sw_ops=count_ops(epochs, "sw"),
        hybrid_ops=count_ops(epochs, "hybrid"),
    )


def _without_return(blocks: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """The id of the Return node is the last one of a closing blob; it is not an epoch ([#epoch-rules] rule 6)."""
    flags, first, last = blocks[-1]
    return [*blocks[:-1], (flags, first, last - 1 if "blob" in flags else last)]


def _epochs(flags: str, first: int, last: int, kinds: dict[str, str]) -> list[StEpoch]:
    """The flag ``hybrid`` also marks software that copies with DMA, which reports of 2.x print as SW: so does this."""
    if "pure_hw" not in flags:
        return [StEpoch(first, "sw", (kinds.get(str(first), "unknown"),))]
    return [StEpoch(number, "ec" if "blob" in flags else "hw") for number in range(first, last + 1)]


def _counts(epochs: list[StEpoch]) -> StCounts:
    number = {kind: sum(epoch.kind == kind for epoch in epochs) for kind in ("hw", "ec", "sw")}
    return StCounts(len(epochs), number["hw"], number["ec"], None, number["sw"])
