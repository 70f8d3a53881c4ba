"""Tables of ``--csv-file``: written here from known traffic and read back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n6convert.errors import SourceError
from n6convert.npu.st.facts import PoolAccess
from n6convert.npu.st.network_csv import read_network_csv

_PARTS = ("r", "w", "r cycles", "w cycles")
Rows = list[dict[str, tuple[int, int, int, int]]]


def _text(rows: Rows, pools: list[str], compute: str = "epoch compute (cyles)", cut: bool = False) -> str:
    columns = [f"{pool} ({part})" for pool in pools for part in _PARTS]
    header = ["epochs", *columns, "bus port 0 (r)", "epoch OPS", compute, "max (cycles)"]
    lines = [",".join(header)]
    for number, traffic in enumerate(rows, 1):
        cells = [str(n) for pool in pools for n in traffic.get(pool, (0, 0, 0, 0))]
        lines.append(", ".join([str(number), *cells, "77", str(10 * number), str(20 * number), str(30 * number)]))
    total = 30 * sum(range(1, len(rows) + 1))
    footer = [] if cut else ["", f"Total cycles, {total}", "Total ideal cycles,12.0", "Total OPS,99"]
    return "\n".join([*lines, *footer]) + "\n"


def _write(folder: Path, text: str) -> Path:
    path = folder / "network.csv"
    path.write_text(text)
    return path


_TRAFFIC = st.tuples(*(st.integers(0, 10**7) for _ in range(4)))


@settings(max_examples=25)
@given(rows=st.lists(st.fixed_dictionaries({"npuRAM3": _TRAFFIC, "octo Flash": _TRAFFIC}), max_size=4))
def test_what_was_written_is_read(rows: Rows, tmp_path_factory: pytest.TempPathFactory) -> None:
    found = read_network_csv(_write(tmp_path_factory.mktemp("csv"), _text(rows, ["npuRAM3", "octo Flash"])))
    for number, (row, epoch) in enumerate(zip(rows, found.epochs, strict=True), 1):
        moved = {pool: PoolAccess(*access) for pool, access in row.items() if access[0] or access[1]}
        assert epoch.pools == moved, "a pool without bytes is not touched; ports of the bus are no pools"
        assert (epoch.id, epoch.operations, epoch.compute_cycles) == (number, 10 * number, 20 * number)
    assert found.total_cycles == sum(epoch.max_cycles for epoch in found.epochs)
    assert (found.ideal_cycles, found.operations) == (12, 99)


def test_both_spellings_of_the_cycles(tmp_path: Path) -> None:
    """The compiler itself writes ``cyles``."""
    right, wrong = (
        read_network_csv(_write(tmp_path, _text([{"a": (1, 2, 3, 4)}], ["a"], f"epoch compute ({word})")))
        for word in ("cycles", "cyles")
    )
    assert right == wrong and right.epochs[0].compute_cycles == 20


def test_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    text = _text([{"a": (1, 2, 3, 4), "b": (5, 6, 7, 8)}, {"b": (9, 0, 1, 0)}], ["a", "b"])
    rows = [line.split(",") for line in text.splitlines() if line]
    table, footer = rows[:3], rows[3:]
    order = [0, *range(len(table[0]) - 1, 0, -1)]
    turned = [[row[i] for i in order] for row in table]
    mirrored = "\n".join(",".join(row) for row in (*turned, *footer))
    assert read_network_csv(_write(tmp_path, mirrored)) == read_network_csv(_write(tmp_path, text))


def test_empty_and_fractional_cells(tmp_path: Path) -> None:
    text = "epochs,p (r),p (w),max (cycles)\n1,,2.6,1e3\nTotal cycles,1000\n"
    (epoch,) = read_network_csv(_write(tmp_path, text)).epochs
    assert epoch.pools["p"] == PoolAccess(0, 3, 0, 0) and epoch.max_cycles == 1000
    assert (epoch.operations, epoch.compute_cycles) == (0, 0), "columns that older versions lack"


@pytest.mark.parametrize(
    ("text", "problem", "where"),
    [
        ("", "not a network.csv", ""),
        ("epochs,a (r)\n1,2\n", "not a network.csv", ""),
        ("nodes,max (cycles)\n1,2\n", "not a network.csv", ""),
        ("epochs,a (r),a (w),max (cycles)\n1,2\nTotal cycles,1\n", "cut off", ", row 2"),
        ("epochs,max (cycles)\n1,2\n2,x\nTotal cycles,1\n", "not a number", ", row 3"),
        ("epochs,max (cycles)\n1,2\n2,inf\nTotal cycles,1\n", "not a number", ", row 3"),
        ("epochs,max (cycles)\n1,2\nTotal cycles,nan\n", "not a number", ", row 3"),
        ("epochs,max (cycles)\n1,2\n", "no line 'Total cycles'", ""),
    ],
)
def test_wrong_tables(text: str, problem: str, where: str, tmp_path: Path) -> None:
    path = _write(tmp_path, text)
    with pytest.raises(SourceError, match=problem) as caught:
        read_network_csv(path)
    assert str(caught.value.place) == f"{path}{where}"


def test_a_table_cut_before_its_footer(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="Total cycles") as caught:
        read_network_csv(_write(tmp_path, _text([{"a": (1, 2, 3, 4)}], ["a"], cut=True)))
    assert caught.value.remedy
