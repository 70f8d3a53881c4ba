"""What the reports do not settle carries its own evidence, which is thin."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from nets.qdq import QdqBuilder

from n6convert.npu.doubts import DOUBTS
from n6convert.npu.evidence import is_thin
from n6convert.npu.placement import place, read

Build = Callable[[QdqBuilder], str]


def _depthwise(kernel: int) -> Build:
    return lambda b: b.conv(b.conv(b.input(1, 1, 32, 32), 1, 32), 32, 32, kernel, group=32)


def _valid(size: int, channels: int, out: int) -> Build:
    def build(b: QdqBuilder) -> str:
        x = b.conv(b.input(1, 1, size, size), 1, channels)
        return b.op("Conv", x, b.weight(out, channels, 3, 3), b.bias(out), kernel_shape=[3, 3])

    return build


def _evidence(build: Build, version: tuple[int, int], quantized: bool = True) -> set[str]:
    builder = QdqBuilder("one", opset=18, quantized=quantized)
    builder.output(build(builder))
    texts = {doubt.evidence for doubt in DOUBTS}
    return {op.evidence for op in place(read(builder.model()), version)[0].ops if op.evidence in texts}


def test_every_doubt_widens_the_interval() -> None:
    assert all(is_thin(doubt.evidence) for doubt in DOUBTS)
    assert len({doubt.evidence for doubt in DOUBTS}) == len(DOUBTS)


@pytest.mark.parametrize(
    ("words", "build", "version", "quantized"),
    [
        ("split depthwise", _depthwise(7), (4, 0), True),
        ("covers its map", _valid(3, 32, 8), (2, 2), True),
        ("float layer", lambda b: b.op("MatMul", b.input(1, 64), b.weight(64, 10)), (2, 2), False),
        ("sums of vectors", lambda b: b.op("Add", *(b.op("Sigmoid", b.input(1, 100)) for _ in "ab")), (2, 2), True),
        ("fewer places", _valid(28, 8, 8), (2, 2), True),
    ],
)
def test_doubts(words: str, build: Build, version: tuple[int, int], quantized: bool) -> None:
    assert [words in text for text in _evidence(build, version, quantized)] == [True]


@pytest.mark.parametrize(("build", "version"), [(_depthwise(7), (2, 2)), (_depthwise(3), (4, 0))])
def test_what_reports_show_is_not_doubted(build: Build, version: tuple[int, int]) -> None:
    assert _evidence(build, version) == set()
