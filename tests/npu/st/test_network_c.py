"""The table of epoch blocks in a generated ``network.c``."""

from __future__ import annotations

from pathlib import Path

import pytest

from n6convert.errors import SourceError
from n6convert.npu.st.network_c import read_network_c

Block = tuple[str, int, int]


def _source(blocks: list[Block], kinds: dict[int, str] | None = None, head: str = "") -> str:
    calls = "".join(
        f"/* scheduling epoch={number} nodes=1 */\n  // Unit= 1 [PROCESSOR]\n  /* node=x satisfies "
        f"input and output adjacency (DMA->DMA) and can be omitted */ /* kind={kind} */\n"
        for number, kind in (kinds or {}).items()
    )
    table = "".join(
        f"    {{\n      .flags = {flags},\n      .wait_mask = 0,\n      .epoch_num = {first},\n"
        f"      .last_epoch_num = {last},\n    }},\n"
        for flags, first, last in blocks
    )
    return f"{head}\n{calls}const EpochBlock_ItemTypeDef *LL_ATON_EpochBlockItems_Default(void) {{\n{table}}}\n"


def _read(folder: Path, *parts: object):  # type: ignore[no-untyped-def]
    path = folder / "network.c"
    path.write_text(_source(*parts))  # type: ignore[arg-type]
    return read_network_c(path)


HW, SW = "EpochBlock_Flags_epoch_start | EpochBlock_Flags_pure_hw", "EpochBlock_Flags_epoch_start"
BLOB, END = f"{HW} | EpochBlock_Flags_blob", "EpochBlock_Flags_last_eb"


def test_blocks_become_epochs(tmp_path: Path) -> None:
    report = _read(tmp_path, [(HW, 1, 1), (SW, 2, 2), (HW, 3, 3), (SW, 4, 4), (END, 0, 0)], {2: "Softmax", 4: "Conv"})
    assert [(epoch.id, epoch.kind) for epoch in report.epochs] == [(1, "hw"), (2, "sw"), (3, "hw"), (4, "sw")]
    assert report.sw_ops == {"Softmax": 1, "Conv": 1} and report.hybrid_ops == {}
    assert report.counts is not None
    assert (report.counts.total, report.counts.hw, report.counts.ec, report.counts.sw) == (4, 2, 0, 2)
    assert report.counts.hybrid is None, "the file does not tell hybrid epochs from software"


def test_a_blob_is_all_epochs_of_its_range(tmp_path: Path) -> None:
    report = _read(tmp_path, [(BLOB, 2, 5), (SW, 6, 6), (BLOB, 7, 9), (END, 0, 0)], {6: "Gather"})
    kinds = {epoch.id: epoch.kind for epoch in report.epochs}
    assert kinds == dict.fromkeys((2, 3, 4, 5, 7, 8), "ec") | {6: "sw"}, "9 is the Return node of the last blob"
    assert report.counts is not None and (report.counts.ec, report.counts.npu) == (6, 6)


def test_the_last_block_without_controller_is_an_epoch(tmp_path: Path) -> None:
    assert [epoch.id for epoch in _read(tmp_path, [(HW, 1, 1), (HW, 2, 2)]).epochs] == [1, 2]


def test_software_without_its_comment_is_unknown(tmp_path: Path) -> None:
    assert _read(tmp_path, [(HW, 1, 1), (SW, 2, 2)], {1: "Conv"}).sw_ops == {"unknown": 1}


def test_versions_of_the_tools(tmp_path: Path) -> None:
    head = '#define GIT_BRANCH "STAI-2.1"\n#define GIT_DESCRIPTION "atonn-v1.1.1-14-ge619e860"'
    report = _read(tmp_path, [(HW, 1, 1)], {}, head)
    assert (report.core_version, report.version, report.atonn_version) == ("2.1", (2, 1), "1.1.1-14")
    assert _read(tmp_path, [(HW, 1, 1)]).core_version is None


def test_a_newer_core_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="newer") as caught:
        _read(tmp_path, [(HW, 1, 1)], {}, 'GIT_BRANCH "STAI-5.0"')
    assert caught.value.found == "5.0"


@pytest.mark.parametrize("blocks", [[], [(END, 0, 0)]])
def test_a_file_without_epochs(blocks: list[Block], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no table of epoch blocks") as caught:
        _read(tmp_path, blocks)
    assert caught.value.place == tmp_path / "network.c"


def test_blocks_outside_of_a_table_are_none(tmp_path: Path) -> None:
    path = tmp_path / "other.c"
    path.write_text(_source([(HW, 1, 1)]).replace("EpochBlockItems", "Items"))
    with pytest.raises(SourceError, match="no table of epoch blocks"):
        read_network_c(path)
