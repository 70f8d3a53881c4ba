"""Text reports of 2.x and 3.x, written here from known epochs and pools, and every number that may disagree."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n6convert.errors import SourceError
from n6convert.npu.st.report import known_core, parse_options, parse_report, read_text_report

HEAD = ["ST Edge AI Core v{core}-20194 329b0e98d", "Parameters            : generate --target stm32n6 -m net.onnx",
        "Model name - my_net", "  macc                :  {macc}"]  # fmt: skip
Rows = list[tuple[str, str]]


def _head(core: str, macc: str = "1,234,567") -> list[str]:
    return [line.format(core=core, macc=macc) for line in HEAD]


def _old(rows: Rows, total: int | None = None, software: int | None = None) -> list[str]:
    """The table of 2.x."""
    kinds = {"hw": "HW", "ec": "EC", "sw": "-SW-", "hybrid": "??"}
    soft = sum(kind == "sw" for kind, _ in rows) if software is None else software
    lines = [f"Total number of epochs: {len(rows) if total is None else total} of which {soft} implemented in software",
             "", "epoch ID   HW/SW/EC Operation (SW only)"]  # fmt: skip
    for number, (kind, op) in enumerate(rows, 1):
        lines.append(f"epoch {number:<9} {kinds[kind]:<6} {f'( {op} )' if op else ''}")
    return [*lines, "=" * 20]


def _new(rows: Rows, counts: dict[str, int] | None = None) -> list[str]:
    """The table of 3.x; runs of controller epochs are one row."""
    number = {kind: sum(k == kind for k, _ in rows) for kind in ("hw", "ec", "sw", "hybrid")} | (counts or {})
    lines = [f"Total number of epochs                               {len(rows)}",
             f">> pure software (SW) epochs                          {number['sw']}",
             f">> hybrid epochs (using both software and hardware)   {number['hybrid']}",
             f">> pure hardware (HW or EC) epochs                   {number['hw'] + number['ec']}", "",
             "| epoch ID | Type | Details |"]  # fmt: skip
    i = 0
    while i < len(rows):
        kind, op = rows[i]
        last = i
        while kind == "ec" and last + 1 < len(rows) and rows[last + 1][0] == "ec":
            last += 1
        name = f"epochs {i + 1} -> {last + 1}" if last > i else f"epoch_{i + 1}"
        shown = {"hybrid": "hybrid"}.get(kind, kind.upper())
        lines.append(f"| {name}  |  {shown}  | {op}  |")
        i = last + 1
    return [*lines, "=" * 20]


_ROWS = st.lists(st.sampled_from([("hw", ""), ("sw", "Softmax"), ("sw", "Conv"), ("hybrid", "Concat")]), min_size=1)


@settings(max_examples=40)
@given(rows=_ROWS, controller=st.booleans())
def test_epochs_are_read_back_in_both_forms(rows: Rows, controller: bool) -> None:
    rows = [("ec", "") if controller and kind == "hw" else (kind, op) for kind, op in rows]
    for core, table in (("2.1.0", _old(rows)), ("3.0.0", _new(rows))):
        report = parse_report([*_head(core), *table], "r.txt")
        assert [(e.id, e.kind) for e in report.epochs] == [(i, kind) for i, (kind, _) in enumerate(rows, 1)]
        for kind, found in (("sw", report.sw_ops), ("hybrid", report.hybrid_ops)):
            names = [op for k, op in rows if k == kind]
            assert found == {op: names.count(op) for op in set(names)}
        counts = report.counts
        assert counts is not None
        assert (counts.total, counts.sw, counts.hybrid or 0) == (
            len(rows), sum(k == "sw" for k, _ in rows), sum(k == "hybrid" for k, _ in rows)
        )  # fmt: skip
        assert counts.npu == sum(k in ("hw", "ec") for k, _ in rows) and (counts.ec == 0 or counts.hw == 0)


def test_the_heading() -> None:
    report = parse_report([*_head("2.1.0"), *_old([("hw", "")])], "r.txt")
    assert (report.core_version, report.version, report.model_name) == ("2.1.0-20194", (2, 1), "my_net")
    assert report.macc == 1_234_567 and report.parameters[:3] == ("generate", "--target", "stm32n6")
    assert report.allocates_io
    assert parse_report([*_head("2.1.0", "0"), *_old([("hw", "")])], "r.txt").macc is None, "0 stands for not counted"


def test_buffers_left_to_the_application() -> None:
    lines = [*_head("2.1.0"), *_old([("hw", "")])]
    lines[1] += " --no-inputs-allocation"
    assert not parse_report(lines, "r.txt").allocates_io


@pytest.mark.parametrize(
    ("table", "found", "limit"),
    [
        (_old([("hw", ""), ("sw", "X")], total=3), 2, "3 epochs"),
        (_old([("hw", ""), ("sw", "X")], software=0), 1, "0 software epochs"),
        (_new([("hw", ""), ("sw", "X")], {"sw": 2}), 1, "2 software epochs"),
        (_new([("hw", ""), ("hybrid", "X")], {"hybrid": 0}), 1, "0 hybrid epochs"),
        (_new([("hw", ""), ("hw", "")], {"hw": 5}), 2, "5 hardware epochs"),
    ],
)
def test_rows_and_totals_must_agree(table: list[str], found: int, limit: str) -> None:
    core = "2.1.0" if "of which" in table[0] else "3.0.0"
    with pytest.raises(SourceError, match="incomplete") as caught:
        parse_report([*_head(core), *table], "r.txt")
    assert (caught.value.place, caught.value.found, caught.value.limit) == ("r.txt", found, limit)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "not a report"), (["hello"], "not a report"), (_head("2.1.0"), "no epoch table"),
        ([*_head("2.1.0"), *_old([("hw", "")])[:-1]], "cut off"),
        ([*_head("2.1.0"), "E102(CliArgumentError): no"], "refused this model"),
        ([*_head("3.0.0"), "Total number of epochs: some", "====="], "unknown form"),
        ([*_head("5.1.0"), *_new([("hw", "")])], "newer"),
    ],
)  # fmt: skip
def test_what_is_no_report_says_why(lines: list[str], words: str) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        parse_report(lines, "r.txt")
    assert caught.value.place == "r.txt"


# pools ----------------------------------------------------------------------------------------------------------------


def _pool(name: str, start: int, size: int, used: str, of: str, weights: str, activations: str) -> str:
    place = f"\t{name}    [0x{start:08X} - 0x{start + size:08X}]:   {used} /  {of}  ( 53.57 % used)"
    return f"{place} -- weights:  {weights} (  0.00 % used)  activations:    {activations} ( 53.57 % used)"


def test_pools_with_their_units() -> None:
    lines = [
        *_head("2.1.0"),
        _pool("npuRAM5", 0x342E0000, 0x70000, "240.000 kB", "448.000 kB", "0  B", "240.000 kB"),
        _pool("octoFlash", 0x71000000, 0x7000000, "1.500 MB", "112.000 MB", "1.500 MB", "0  B"),
        _pool("npuRAM6", 0x34350000, 0x70000, "0  B", "448.000 kB", "0  B", "0  B"),
        _pool("exact", 0x1000, 0x100, "17  B", "256  B", "7  B", "10  B"),
        *_old([("hw", "")]),
    ]
    report = parse_report(lines, "r.txt")
    assert set(report.pools) == {"npuRAM5", "octoFlash", "exact"}, "one that is not used is not listed"
    assert set(report.layout) == {*report.pools, "npuRAM6"}
    ram, flash, exact = (report.pools[name] for name in ("npuRAM5", "octoFlash", "exact"))
    assert (ram.used, ram.activations, ram.weights, ram.start, ram.size) == (245_760, 245_760, 0, 0x342E0000, 458_752)
    assert flash.weights == 1_572_864 and not flash.exact
    assert (exact.used, exact.weights, exact.activations, exact.exact) == (17, 7, 10, True)
    assert (report.weights_bytes, report.activations_bytes) == (1_572_864 + 7, 245_760 + 10)


def test_exact_sums_win_over_rounded_pools() -> None:
    exact = ["  weights (ro)          :  367,233 B (358.63 KiB)", "  activations (rw)      :  245,761 B"]
    lines = [*_head("2.1.0"), *exact, *_old([("hw", "")])]
    report = parse_report(lines, "r.txt")
    assert (report.weights_bytes, report.activations_bytes) == (367_233, 245_761)


# words ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ("-i net.onnx --json-quant-file net_Q.json -O3 --cache-maintenance --enable-virtual-mem-pools",
         ("-O3", "--cache-maintenance", "--enable-virtual-mem-pools")),
        ("--load-mdesc a.mdesc --Oauto-sched --network-name x", ("--Oauto-sched",)), (None, ()), ("", ()),
    ],
)  # fmt: skip
def test_options_that_name_no_file(arguments: str | None, options: tuple[str, ...]) -> None:
    assert parse_options(arguments) == options


@pytest.mark.parametrize(("printed", "core"), [("10.0.0-20047", "2.0.0-20047"), ("2.2.0", "2.2.0"), ("4.9.1", "4.9.1")])
def test_versions_of_the_older_package(printed: str, core: str) -> None:
    assert known_core(printed, "r") == core


def test_a_file_in_an_odd_encoding_reads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "r.txt"
    lines = [*_head("2.1.0"), *_old([("hw", ""), ("sw", "Softmax")])]
    path.write_bytes("\r\n".join(lines).replace("HW ", "HW\xa0").encode())
    assert read_text_report(path).sw_ops == {"Softmax": 1}
