"""Measurements of ``validate``: tables and the small c_info, written here and read back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n6convert.errors import SourceError
from n6convert.npu.st.validate import parse_validate, parse_validate_info, read_validate


def _row(
    number: int, kind: str, milliseconds: float, counters: tuple[int, int, int], block: str = "EpochBlock_1"
) -> str:
    mark = f" ({kind})" if kind else ""
    inner = " ".join(f"{value:,}" for value in counters)
    return f"   {number}  -  epoch{mark}  {milliseconds:.3f}  12.0%  88.0%  [ {inner} ]   {block}  "


def _log(rows: list[str], duration: str = "1,234.567", clocks: bool = True) -> list[str]:
    attrs = "  device.attrs   : mcu_freq=800MHz, noc_freq=400MHz, npu_freq=1000MHz nic_freq=900MHz"
    return ["  Running", *([attrs] if clocks else []), f"    duration   : {duration} ms by sample (0.9/1.1/0.1)", *rows]


def test_duration_and_clocks() -> None:
    board = parse_validate(_log([]))
    assert board is not None
    assert board.milliseconds == 1234.567
    assert board.clocks == {"cpu": 800, "npu": 1000, "nic": 900, "noc": 400}
    assert board.rows == () and board.counts is None and board.epoch_controller is None


def test_clocks_that_are_not_printed_are_not_known() -> None:
    board = parse_validate(_log([], clocks=False))
    assert board is not None and board.clocks == {}


_COUNTERS = st.tuples(*(st.integers(0, 10**8) for _ in range(3)))


@settings(max_examples=40)
@given(rows=st.lists(st.tuples(st.sampled_from(["", "SW", "HYBRID"]), st.integers(0, 10**6), _COUNTERS), min_size=1))
def test_rows_are_read_back(rows: list[tuple[str, int, tuple[int, int, int]]]) -> None:
    lines = [_row(i, kind, ms / 1000, counters) for i, (kind, ms, counters) in enumerate(rows)]
    board = parse_validate(_log(lines))
    assert board is not None
    read = [(row.kind, round(row.milliseconds * 1000), row.counters) for row in board.rows]
    assert read == [(kind or "epoch", ms, counters) for kind, ms, counters in rows]
    counts = board.counts
    assert counts is not None
    kinds = [kind for kind, _, _ in rows]
    assert (counts.total, counts.sw, counts.hybrid) == (len(rows), kinds.count("SW"), kinds.count("HYBRID"))
    assert counts.hw + counts.sw + (counts.hybrid or 0) == counts.total


def test_a_blob_hides_how_many_epochs_it_holds() -> None:
    board = parse_validate(_log([_row(0, "EC", 1.0, (1, 2, 3)), _row(1, "SW", 2.0, (4, 5, 6), "Softmax")]))
    assert board is not None and board.epoch_controller is True and board.counts is None
    assert board.rows[1].block == "Softmax"


def test_extra_rows_are_no_epochs() -> None:
    board = parse_validate(_log([_row(0, "", 1.0, (1, 2, 3)), _row(1, "extra-blob", 1.0, (1, 2, 3))]))
    assert board is not None and board.counts is not None and board.counts.total == 1


def test_the_first_measurement_of_a_log_counts() -> None:
    board = parse_validate([*_log([], "1.5"), *_log([], "2.5")])
    assert board is not None and board.milliseconds == 1.5


def test_a_log_without_measurement(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("ST Edge AI Core v2.1.0\nnothing measured\n")
    with pytest.raises(SourceError, match="no measured time") as caught:
        read_validate(path)
    assert caught.value.place == path
    path.write_text("\n".join(_log([], "3.25")))
    assert read_validate(path).milliseconds == 3.25


def test_colors_and_prefixes_of_a_terminal_do_not_matter(tmp_path: Path) -> None:
    plain, dressed = tmp_path / "plain.txt", tmp_path / "dressed.txt"
    lines = _log([_row(0, "SW", 1.0, (1, 2, 3), "Softmax")])
    plain.write_text("\n".join(lines))
    dressed.write_text(
        "\n".join(f"2025-01-02 03:04:05,678 [INFO] stm32ai:12 - \x1b[32m{line}\x1b[0m" for line in lines)
    )
    assert read_validate(dressed) == read_validate(plain)


# the small c_info ------------------------------------------------------------------------------------------------


def test_entries_are_blocks_and_their_sum_is_the_inference() -> None:
    data = {"aton_execution_time": [{"duration_ms": d, "counters": [1, 2, 3]} for d in (0.25, 0.5, "1.25")]}
    board = parse_validate_info(data)
    assert board is not None and board.milliseconds == 2.0
    assert [row.block for row in board.rows] == ["block 1", "block 2", "block 3"]
    assert board.rows[0].counters == (1, 2, 3)


@pytest.mark.parametrize(
    "data",
    [
        None, [], {}, {"aton_execution_time": []}, {"aton_execution_time": {}}, {"aton_execution_time": [{}]},
        {"aton_execution_time": [{"duration_ms": 1, "counters": [1, 2]}]},
        {"aton_execution_time": [{"duration_ms": "x", "counters": [1, 2, 3]}]},
        {"aton_execution_time": [{"duration_ms": 1, "counters": 3}]}, {"aton_execution_time": [7]},
    ],
)  # fmt: skip
def test_other_json_is_no_measurement(data: object) -> None:
    assert parse_validate_info(data) is None
