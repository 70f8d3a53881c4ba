"""Accuracy and memory on the page: what is good, what is left to try, what lies in flash, why it spills."""

from __future__ import annotations

import pytest

from n6convert.report.memory_view import memory_section
from n6convert.report.quality import accuracy_section, error_sources
from n6convert.report.schema import PartialReport
from n6convert.report.time_spent import time_spent
from n6convert.results.sections import Latency, Memory, Quantization


def worst(name: str, cause: str, **more) -> dict:
    return {"name": name, "sqnr_db": 9.0, "scale": 0.1, "cause": cause, "remedy": "the first remedy"} | more


def test_closeness_of_the_written_model_stands_beside_the_ratios(report):
    report["quantization"]["methods"] = [
        {"method": "a", "kept": True, "closeness_db": 20.0}, {"method": "b", "kept": True, "closeness_db": 22.5},
        {"method": "c", "kept": False, "closeness_db": 30.0},
    ]  # fmt: skip
    section = accuracy_section(PartialReport.model_validate(report))
    assert ["closeness of all outputs", "", "22.5 dB", ""] in section.rows
    assert "40 dB at best" in section.note


@pytest.mark.parametrize(
    ("tried", "words"),
    [([], "the first remedy"), (["outlier channels"], "outlier channels tried or ruled out already; left: split")],
)
def test_no_remedy_is_given_that_is_on(tried, words):
    methods = [{"method": name, "kept": True} for name in tried]
    section = Quantization.model_validate({"worst": [worst("t", "outlier channel")], "methods": methods})
    assert words in error_sources(section)[0].text


def test_what_could_bring_too_little_is_no_remedy_either():
    left = [{"method": "outlier channels", "most_db": 0.05}]
    section = {"worst": [worst("t", "outlier channel")], "methods_not_promising": left}
    assert "ruled out already; left: split" in error_sources(Quantization.model_validate(section))[0].text


def test_copies_are_named_with_their_tensor_and_what_passes_error_on_is_left_out():
    tensors = [worst("a", "weights"), worst("b", "weights"), worst("c", "inherited"), worst("d", "weights", sqnr_db=10)]
    found = error_sources(Quantization.model_validate({"worst": tensors}))
    assert [source.name for source in found] == ["a and 1 copy of it", "d"]


def memory(**more) -> Memory:
    pools = [
        {"name": "ram", "size": 1024, "used": 1024, "weights": 0, "activations": 1024, "external": False},
        {"name": "outer", "size": 4096, "used": 512, "weights": 0, "activations": 512, "external": True},
        {"name": "flash", "size": 102400, "used": 10240, "weights": 10240, "activations": 0, "external": True},
    ]
    facts = {"pools": pools, "weights": 10240, "activations": 1536, "fits": True, "external": 512, "peak": 900}
    return Memory.model_validate(facts | more)


def test_tables_are_part_of_what_flash_holds():
    assert "30 KiB of 100 KiB" in memory_section(memory(tables=20480)).pools
    assert "10 KiB of 100 KiB" in memory_section(memory()).pools


@pytest.mark.parametrize(("peak", "words"), [(900, "in one piece"), (3072, "3 KiB are alive at once, 2 KiB more")])
def test_why_activations_leave_the_chip(peak, words):
    assert words in memory_section(memory(peak=peak)).summary


def test_equal_epochs_share_a_row():
    def long(epoch: int, operators: str, milliseconds: float) -> dict:
        return {"epoch": epoch, "operators": operators, "bound": "flash", "milliseconds": milliseconds, "share": 0.1}

    longest = [long(3, "Conv", 2.0), long(1, "Mul", 1.5), long(2, "Mul", 1.0)]
    facts = {"milliseconds": 5.0, "bottlenecks": {"milliseconds": {"flash": 5.0}, "longest": longest}}
    rows = time_spent(Latency.model_validate(facts)).longest
    assert [(row.epochs, row.milliseconds, row.share) for row in rows] == [
        ([1, 2], "2.50", "20%"),
        ([3], "2.00", "10%"),
    ]
