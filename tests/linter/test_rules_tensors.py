"""Types, ranks and sizes of tensors at the borders that the documented limits draw."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from n6convert.linter import Finding

Lint = Callable[..., list[Finding]]

RELU = "{ y = Relu (x) }"


@pytest.mark.parametrize(("size", "found"), [(65_535, []), (65_536, ["dimension 65,536"])])
def test_dimensions_below_65536(size: int, found: list[str], broken: Lint) -> None:
    hits = broken("dimension", "{ y = ReduceMax <axes=[1], keepdims=1> (x) }", inputs=f"float[1,{size}] x")
    assert [hit.found for hit in hits] == found


@pytest.mark.parametrize(
    ("rank", "version", "severities"),
    [(4, "4.0", set()), (5, "4.0", {"error"}), (5, "2.1", {"warning"}), (6, "2.1", {"warning"}), (7, "2.1", {"error"})],
)
def test_ranks(rank: int, version: str, severities: set[str], broken: Lint) -> None:
    """Six at import, four on the NPU; five crash only compilers of 4.x."""
    shape = ",".join(["1"] + ["2"] * (rank - 1))
    hits = broken("rank", RELU, inputs=f"float[{shape}] x", target=f"stm32n6570-dk@{version}")
    assert {str(hit.severity) for hit in hits} == severities
    assert all(hit.found == f"rank {rank}" for hit in hits)


def test_constants_may_have_any_rank(broken: Lint) -> None:
    body = "<float[1,1,1,1,2] c = {1,2}> { r = Relu (c) s = ReduceMax <axes=[0,1,2], keepdims=0> (r) y = Add (x, s) }"
    assert broken("rank", body, inputs="float[1,2] x") == []


def test_a_wide_type_is_reported_where_it_begins(broken: Lint) -> None:
    body = "{ a = Cast <to = 10> (x) b = Relu (a) c = Sigmoid (b) y = Cast <to = 1> (c) }"
    (hit,) = broken("float-types", body)
    assert (hit.found, hit.tensor, hit.node) == ("type float16", "a", "Cast 'a'")


def test_initializers_count_where_they_are_used(broken: Lint) -> None:
    used = "<double[1] c = {1}> { d = Cast <to = 1> (c) y = Add (x, d) }"
    assert [hit.tensor for hit in broken("float-types", used)] == ["c"]
    assert broken("float-types", "<double[1] c = {1}> { y = Relu (x) }") == []


def test_integers_are_an_error_only_among_int8(broken: Lint) -> None:
    free = "{ i = Cast <to = 7> (x) j = Add (i, i) y = Cast <to = 1> (j) }"
    (hit,) = broken("integer-activations", free)
    assert (hit.tensor, str(hit.severity)) == ("i", "warning"), "what reads an integer is not told again"
    quantized = (
        "<float s = {0.1}, int8 z = {0}> { q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z)"
        " i = Cast <to = 7> (d) y = Cast <to = 1> (i) }"
    )
    (hit,) = broken("integer-activations", quantized)
    assert str(hit.severity) == "error"


def test_integers_of_constants_are_folded(broken: Lint) -> None:
    body = "<int64[1] c = {1}> { d = Add (c, c) f = Cast <to = 1> (d) y = Add (x, f) }"
    assert broken("integer-activations", body) == []


def test_a_shape_that_is_known_is_a_constant(broken: Lint) -> None:
    body = "{ s = Shape (x) y = Reshape (x, s) }"
    assert broken("integer-activations", body) == []
    (hit,) = broken("integer-activations", body, inputs="float[N,4] x")
    assert hit.found == "shape computed at run time"


@pytest.mark.parametrize("quantized", [False, True])
def test_a_mask_makes_a_quantized_network_float(quantized: bool, broken: Lint) -> None:
    pair = "q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z)" if quantized else "d = Identity (x)"
    body = f"<float s = {{0.1}}, int8 z = {{0}}> {{ {pair} b = Greater (d, s) y = Cast <to = 1> (b) }}"
    (hit,) = broken("bool-tensors", body)
    assert str(hit.severity) == ("error" if quantized else "warning") and hit.tensor == "b"
