"""Results in a notebook: short as text, a picture as HTML."""

from __future__ import annotations

from pathlib import Path

from nets.qdq import QdqBuilder

from n6convert.npu import estimate
from n6convert.report.summary import summary_rows
from n6convert.results import Accuracy, ConversionResult, Placement, Report, WeightsReport


def typed(report) -> Report:
    return Report(
        n6convert="0", status="accepted", model="net", name="net", target="stm32n6570-dk@4.0",
        weights=WeightsReport(kind="file", origin="net.pt", trained=True), recipe={}, stages=[],
        placement=Placement(**report["placement"]), latency=report["latency"], memory=report["memory"],
        accuracy=Accuracy.model_validate(report["accuracy"]), sqnr_db=report["sqnr_db"],
    )  # fmt: skip


def test_a_result_is_short_as_text_and_a_picture_as_html(report) -> None:
    found = ConversionResult(Path("out"), Path("out/net_int8.onnx"), typed(report), {})
    assert len(repr(found)) < 400 and "drop=0.5" in repr(found) and "net_int8.onnx" in repr(found)
    assert found.summary().splitlines()[0].startswith("model ")
    html = found._repr_html_()
    assert html.startswith("<iframe srcdoc=") and "As converted" in html and "<script" not in html
    assert found.to_dict()["accuracy"]["float"] == 41.0


def test_metrics_are_flat_numbers(report) -> None:
    metrics = typed(report).metrics()
    assert all(isinstance(value, float) for value in metrics.values())
    assert (metrics["milliseconds"], metrics["sqnr_db.y"], metrics["weights_bytes"]) == (0.8, 30.5, 5000.0)


def test_an_estimate_too() -> None:
    build = QdqBuilder("net")
    build.output(build.conv(build.input(1, 3, 16, 16), 3, 8, 3))
    found = estimate(build.model())
    assert len(repr(found)) < 200 and " ms " in repr(found)
    assert "predicted time" in found.summary()
    assert "<iframe" in found._repr_html_()
    assert found.to_dict() == found.facts()


def test_lines_of_the_terminal_are_those_of_the_summary(report) -> None:
    rows = dict(summary_rows(typed(report)))
    assert rows["AP"] == "float 41.0, INT8 40.5, lost 0.50 points (95 %: -0.20 to +1.10) on 64 samples"
    assert rows["memory"] == "weights 5 KiB, activations 195 KiB, activations on chip"
