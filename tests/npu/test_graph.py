"""The readers' graph: order of execution, what nobody needs, sizes that no memory holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n6convert.errors import GraphError
from n6convert.npu.graph import MAX_ELEMENTS, Graph, Node, depth_first, in_execution_order
from n6convert.npu.ir import Tensor


def _node(name: str, reads: str, writes: str) -> Node:
    return Node(name, "Op", tuple(reads.split()), tuple(writes.split()))


def _graph(nodes: list[Node], outputs: str) -> Graph:
    names = {t for node in nodes for t in (*node.inputs, *node.outputs)} | {"x"}
    return Graph("g", nodes, {n: Tensor(n, (1, 4), "int8") for n in names}, {}, ("x",), tuple(outputs.split()))


@st.composite
def _acyclic(draw: st.DrawFn) -> list[Node]:
    """Nodes that read the input and results of earlier ones, in any order of the file."""
    count = draw(st.integers(1, 12))
    nodes = []
    for i in range(count):
        reads = draw(st.lists(st.sampled_from(["x", *(f"t{j}" for j in range(i))]), min_size=1, max_size=3))
        nodes.append(_node(f"n{i}", " ".join(reads), f"t{i}"))
    return draw(st.permutations(nodes))


def _written_before_read(order: list[Node]) -> bool:
    known = {"x"}
    for node in order:
        if not known.issuperset(node.inputs):
            return False
        known.update(node.outputs)
    return True


@settings(max_examples=40)
@given(nodes=_acyclic())
def test_every_tensor_is_written_before_it_is_read(nodes: list[Node]) -> None:
    order = in_execution_order(nodes, ["x"])
    assert _written_before_read(order)
    assert sorted(node.name for node in order) == sorted(node.name for node in nodes)
    if _written_before_read(nodes):
        again = in_execution_order(order, ["x"])
        assert _written_before_read(again)


@settings(max_examples=40)
@given(nodes=_acyclic())
def test_depth_first_walks_what_the_outputs_need_and_nothing_else(nodes: list[Node]) -> None:
    last = max(nodes, key=lambda node: int(node.name[1:]))
    graph = _graph(nodes, last.outputs[0])
    order = depth_first(graph)
    assert _written_before_read(order) and order[-1] is last
    graph.nodes = in_execution_order(nodes, ["x"])
    graph.prune()
    assert {node.name for node in order} == {node.name for node in graph.nodes}


def test_depth_first_finishes_a_branch_before_its_neighbor() -> None:
    nodes = [_node("a1", "x", "a"), _node("b1", "x", "b"), _node("a2", "a", "aa"), _node("b2", "b", "bb"),
             _node("join", "aa bb", "y")]  # fmt: skip
    assert [node.name for node in depth_first(_graph(nodes, "y"))] == ["a1", "a2", "b1", "b2", "join"]


def test_a_file_in_order_keeps_it() -> None:
    nodes = [_node("a", "x", "p"), _node("b", "x", "q"), _node("c", "p q", "r")]
    assert in_execution_order(nodes, ["x"]) == nodes


@pytest.mark.parametrize(
    ("nodes", "words", "place", "found"),
    [
        ([("a", "x", "t"), ("b", "x", "t")], "written twice", "b", "t"),
        ([("a", "x", "x")], "written twice", "a", "x"),
        ([("a", "x nobody", "t")], "nobody writes", "a", "nobody"),
        ([("a", "x", "s"), ("b", "s u", "t"), ("c", "t", "u")], "cycle", "b", None),
        ([("a", "t", "t")], "cycle", "a", None),
    ],
)
def test_graphs_without_an_order(nodes: list[tuple[str, str, str]], words: str, place: str, found: str | None) -> None:
    with pytest.raises(GraphError, match=words) as caught:
        in_execution_order([_node(*node) for node in nodes], ["x"])
    assert (caught.value.place, caught.value.found) == (place, found)


def test_what_nobody_reads_is_dropped_with_what_only_it_reads() -> None:
    nodes = [_node("a", "x", "p"), _node("b", "p", "q"), _node("c", "q", "r"), _node("d", "p", "y z")]
    graph = _graph(nodes, "z")
    graph.prune()
    assert [node.name for node in graph.nodes] == ["a", "d"]


def test_a_reader_counts_once_however_often_it_reads() -> None:
    square = _node("square", "x x", "y")
    graph = _graph([square], "y")
    assert graph.consumers() == {"x": [square]} and graph.producers() == {"y": square}


@pytest.mark.parametrize(("elements", "fits"), [(MAX_ELEMENTS, True), (MAX_ELEMENTS + 1, False)])
def test_the_largest_tensor(elements: int, fits: bool) -> None:
    graph = _graph([_node("a", "x", "y")], "y")
    graph.tensors["y"].shape = (elements,)
    if fits:
        graph.check()
        return
    with pytest.raises(GraphError, match="impossible size") as caught:
        graph.check()
    error = caught.value
    assert (error.place, error.limit) == ("y", f"{MAX_ELEMENTS} elements") and str(elements) in str(error.found)


def test_an_empty_tensor_is_possible() -> None:
    graph = _graph([_node("a", "x", "y")], "y")
    graph.tensors["x"].shape = (0, 4)
    graph.check()


def test_negative_sizes_are_impossible_whatever_their_product() -> None:
    graph = _graph([_node("a", "x", "y")], "y")
    graph.tensors["y"].shape = (-2, -3)
    with pytest.raises(GraphError, match="impossible size"):
        graph.check()


def test_zeros_are_known_by_value() -> None:
    graph = _graph([_node("a", "x w v", "y")], "y")
    graph.values.update(w=np.zeros(3), v=np.array([0, 0, 1]))
    graph.check()
    assert graph.tensors["w"].zero and not graph.tensors["v"].zero and not graph.tensors["x"].zero


def test_an_unknown_shape_names_its_tensor() -> None:
    with pytest.raises(GraphError, match="no known shape") as caught:
        _graph([], "x").shape("absent")
    assert caught.value.place == "absent" and caught.value.remedy
