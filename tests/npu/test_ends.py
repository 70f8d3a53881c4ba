"""Element types and channel positions of a network's ends, as the compiler's options ask for them."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from nets.qdq import QdqBuilder
from tflite_writer import LiteWriter

from n6convert.errors import RecipeError
from n6convert.npu.ends import CHANNEL_POSITIONS, DATA_TYPES, Ends, shape_ends
from n6convert.npu.graph import Graph
from n6convert.npu.onnx_reader import read_proto
from n6convert.npu.tflite_reader import read_tflite


def _graph(last: bool = False) -> Graph:
    """A convolution from int8 to int8; ``last``: between a channel-last input and output."""
    b = QdqBuilder("ends")
    x = b.op("Transpose", b.input(1, 8, 8, 3), zero=0, perm=[0, 3, 1, 2]) if last else b.input(1, 3, 8, 8)
    b.output(b.conv(x, 3, 4))
    return read_proto(b.model())


def _shaped(ends: Ends, last: bool = False) -> Graph:
    graph = _graph(last)
    shape_ends(graph, ends)
    return graph


def _ends(graph: Graph) -> tuple[str, str]:
    return graph.tensors[graph.inputs[0]].dtype, graph.tensors[graph.outputs[0]].dtype


@pytest.mark.parametrize(("given", "wanted"), list(itertools.product([None, *DATA_TYPES], repeat=2)))
def test_each_end_has_the_type_that_was_asked_for(given: str | None, wanted: str | None) -> None:
    graph = _shaped(Ends(given, wanted))
    assert _ends(graph) == (given or "int8", wanted or "int8")
    conversions = [node.op for node in graph.nodes if node.op != "Conv"]
    front = given not in (None, "int8")
    back = "DequantizeLinear" if wanted == "float32" else "QuantizeLinear" if wanted == "uint8" else None
    assert conversions == [*["QuantizeLinear"] * front, *([back] if back else [])]


def test_the_network_between_stays_int8() -> None:
    graph = _shaped(Ends("float32", "float32"))
    conv = next(node for node in graph.nodes if node.op == "Conv")
    assert [graph.tensors[name].dtype for name in (conv.inputs[0], conv.outputs[0])] == ["int8", "int8"]
    source = graph.tensors[graph.inputs[0]]
    assert (source.scale, source.zero_point) == (None, None), "a float has no grid"


def test_a_converted_input_is_converted_once_for_all_readers() -> None:
    b = QdqBuilder("fork")
    x = b.input(1, 3, 8, 8)
    b.output(b.op("Add", b.conv(x, 3, 3), b.op("Sigmoid", x)))
    graph = read_proto(b.model())
    name = graph.inputs[0]
    shape_ends(graph, Ends("uint8"))
    readers = [node.op for node in graph.nodes if name in node.inputs]
    assert readers == ["QuantizeLinear"] and graph.nodes[0].op == "QuantizeLinear"
    assert graph.tensors[graph.nodes[0].outputs[0]].dtype == "int8"


def test_no_option_changes_nothing() -> None:
    before, after = _graph(), _shaped(Ends())
    assert [(n.op, n.inputs, n.outputs) for n in before.nodes] == [(n.op, n.inputs, n.outputs) for n in after.nodes]
    assert before.tensors == after.tensors and before.outputs == after.outputs


def test_a_channel_last_input_may_be_fed_channel_first() -> None:
    graph = _shaped(Ends(input_channels="chfirst"), last=True)
    assert graph.tensors[graph.inputs[0]].shape == (1, 3, 8, 8)
    assert "Transpose" not in [node.op for node in graph.nodes]
    kept = _shaped(Ends(input_channels="chlast"), last=True)
    assert kept.tensors[kept.inputs[0]].shape == (1, 8, 8, 3)
    assert "Transpose" in [node.op for node in kept.nodes]


_OPTIONS = [
    ("input_type", "--input-data-type", DATA_TYPES),
    ("output_type", "--output-data-type", DATA_TYPES),
    ("input_channels", "--inputs-ch-position", CHANNEL_POSITIONS),
    ("output_channels", "--outputs-ch-position", CHANNEL_POSITIONS),
]


@pytest.mark.parametrize(("field", "option", "known"), _OPTIONS)
@pytest.mark.parametrize("value", ["int16", "", "NCHW"])
def test_other_values_name_their_option(field: str, option: str, known: tuple[str, ...], value: str) -> None:
    with pytest.raises(RecipeError, match=option) as caught:
        Ends(**{field: value})
    assert caught.value.found == value and caught.value.limit == ", ".join(known)
    for allowed in known:
        assert getattr(Ends(**{field: allowed}), field) == allowed


# files with conversions of their own ---------------------------------------------------------------------------------


def _lite(folder: Path, first: bool) -> Graph:
    """A TFLite file from float to float; ``first``: with a layer that is read channel-first."""
    w = LiteWriter()
    grid = {"scales": [0.5], "zeros": [3]}
    x, q = w.tensor("x", (1, 4, 5, 3)), w.tensor("q", (1, 4, 5, 3), "int8", **grid)
    w.op("QUANTIZE", [x], [q])
    r, y = w.tensor("r", (1, 4, 5, 3), "int8", **grid), w.tensor("y", (1, 4, 5, 3))
    if first:
        weights = w.constant("w", np.ones((3, 1, 1, 3), np.int8), scales=[0.5])
        w.op("CONV_2D", [q, weights], [r], {1: ("i32", 1), 2: ("i32", 1)})
    else:
        w.op("RELU", [q], [r])
    w.op("DEQUANTIZE", [r], [y])
    w.inputs, w.outputs = [x], [y]
    return read_tflite(w.write(folder / "a.tflite"))


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("wanted", [None, *DATA_TYPES])
def test_conversions_of_the_file_go_where_integers_are_asked_for(
    wanted: str | None, first: bool, tmp_path: Path
) -> None:
    """int8 is what lies behind them; uint8 at the input is converted on the NPU, at the output it is not made."""
    graph = _lite(tmp_path, first)
    shape_ends(graph, Ends(wanted, wanted))
    graph.prune()
    kinds = [node.op for node in graph.nodes]
    source, result = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    assert source.shape == result.shape == (1, 4, 5, 3)
    assert source.dtype == (wanted or "float32")
    assert result.dtype == ("int8" if wanted == "int8" else "float32")
    assert ("DequantizeLinear" in kinds) is (wanted != "int8")
    assert ("QuantizeLinear" in kinds) is (wanted != "int8")
    if wanted == "int8":
        assert (source.scale, source.zero_point) == (result.scale, result.zero_point) == (0.5, 3)


@pytest.mark.parametrize("kind", ["int8", "float32"])
def test_the_type_that_is_there_changes_nothing(kind: str, tmp_path: Path) -> None:
    graph = _graph() if kind == "int8" else _lite(tmp_path, True)
    before = [(node.op, node.inputs, node.outputs) for node in graph.nodes]
    shape_ends(graph, Ends(kind, kind))
    assert [(node.op, node.inputs, node.outputs) for node in graph.nodes] == before


def test_a_channel_last_output_may_be_handed_out_in_planes(tmp_path: Path) -> None:
    last, planes = _lite(tmp_path, True), _lite(tmp_path, True)
    shape_ends(last, Ends(output_channels="chlast"))
    shape_ends(planes, Ends(output_channels="chfirst"))
    assert last.tensors[last.outputs[0]].shape == (1, 4, 5, 3)
    assert planes.tensors[planes.outputs[0]].shape == (1, 3, 4, 5)
