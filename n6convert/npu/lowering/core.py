"""The lowerer: emits operators in the compiler's own terms and inserts conversions wherever int8 meets float."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from n6convert.graph.operators import PRODUCTS, VIEWS
from n6convert.npu.cycles import conv_plan, is_fast
from n6convert.npu.graph import Graph, Node
from n6convert.npu.ir import ConvGeometry, Lowered, Op, Tensor, Units, Where
from n6convert.npu.rules import Rule, Subject, decide
from n6convert.npu.rules.limits import SMALL_MAP
from n6convert.operators.versions import has

__all__ = ["Handler", "Lowerer", "handler_of", "lowers"]

_HANDLERS: dict[str, Handler] = {}
_STORED_CHANNEL_LAST = {"Softmax"}
_VIEWS = VIEWS | {"Transpose"}
_NO_UNITS = Units()


def lowers(*ops: str) -> Callable[[Handler], Handler]:
    """Register a function as the lowering of operators."""

    def register(handler: Handler) -> Handler:
        _HANDLERS.update(dict.fromkeys(ops, handler))
        return handler

    return register


def handler_of(op: str) -> Handler | None:
    """The registered lowering of an operator."""
    return _HANDLERS.get(op)


class Lowerer:
    """State of one lowering: operators emitted so far and the tensors between them."""

    def __init__(self, graph: Graph, version: tuple[int, int], switches: frozenset[str] = frozenset()) -> None:
        self.graph = graph
        self.version = version
        self.switches = switches
        self.tensors = graph.tensors
        self.ops: list[Op] = []
        self.floats: dict[str, str] = {}
        """int8 tensors whose producer runs in float -> the float tensor that it writes."""
        self.cache: dict[tuple[str, str], str] = {}
        """Layout copies that several operators share."""
        self.written_by_sw: set[str] = set()
        self.written_by_dma: set[str] = set()
        """Those of them that a hybrid epoch writes."""
        self.channel_last: set[str] = set()
        self.readers = graph.consumers()
        self.writers = graph.producers()
        self.final = _final(graph, self.readers)
        self.pointwise_pairs = _pointwise_pairs(graph, self.readers)
        self._count = 0

    # decisions --------------------------------------------------------------------------------------------------

    def subject(self, node: Node) -> Subject:
        """The operator as the rules see it."""
        inputs = set(node.inputs)
        software, channel_last = frozenset(self.written_by_sw & inputs), frozenset(self.channel_last & inputs)
        known = (self.switches, self.final, self.pointwise_pairs)
        return Subject(self.graph, node, self.version, software, channel_last, *known)

    def decide(self, node: Node) -> Rule:
        """The rule that places an operator."""
        return decide(self.subject(node))

    def pick(self, op: str, node: Node, **attributes: Any) -> Rule:
        """The rule that would place an operator of another kind on the same tensors (for inserted operators)."""
        return self.decide(Node(f"{node.name}/{op}", op, node.inputs, node.outputs, {**node.attributes, **attributes}))

    # tensors ----------------------------------------------------------------------------------------------------

    def fresh(self, like: str, suffix: str, shape: Sequence[int] | None = None, dtype: str | None = None) -> str:
        """A new tensor; ``dtype='float32'`` drops the quantization.

        Args:
            like: name of the tensor whose type and grid it takes.
            suffix: of its name.
            shape: None: the same.
            dtype: None: the same; ``"float32"`` drops the quantization.
        """
        self._count += 1
        old = self.tensors[like]
        kind = dtype or old.dtype
        name = f"{like}/{suffix}{self._count}"
        size = tuple(old.shape if shape is None else shape)
        quantized = kind != "float32"
        self.tensors[name] = Tensor(
            name, size, kind, old.scale if quantized else None, old.zero_point if quantized else None
        )
        return name

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        return self.tensors[name].shape

    def is_float(self, name: str) -> bool:
        """True when the tensor exists as float only."""
        return name in self.floats or not self.tensors[name].quantized

    # emission ---------------------------------------------------------------------------------------------------

    def emit(
        self,
        kind: str,
        node: Node,
        rule: Rule,
        inputs: Sequence[str],
        outputs: Sequence[str],
        *,
        where: Where | None = None,
        as_float: bool | None = None,
        units: Units = _NO_UNITS,
        conv: ConvGeometry | None = None,
        macs: int = 0,
        **attributes: Any,
    ) -> Op:
        """Append one operator, with the conversions that its inputs need.

        Args:
            kind: operator of the compiler.
            node: of the graph, that it comes from.
            rule: that decided its place.
            inputs: names of tensors.
            outputs: names of tensors.
            where: its place; None: the rule's.
            as_float: whether it computes in float; None: as the rule says.
            units: of the NPU that it takes.
            conv: geometry of a convolution or pool.
            macs: multiplications.
        """
        in_float = rule.float if as_float is None else as_float
        place = rule.where if where is None else where
        op = Op(
            name=self._name(node, kind),
            kind=kind,
            inputs=tuple(self._read(name, in_float, node) for name in inputs if name),
            outputs=tuple(self._write(name, in_float) for name in outputs),
            where=place,
            float=in_float,
            rule=rule.name,
            reason=rule.sentence,
            evidence=rule.evidence,
            remedy=rule.remedy if place is not Where.HW else None,
            rewrite=rule.rewrite,
            conv=conv,
            units=units if place in (Where.HW, Where.NONE) else Units(),
            attributes={"operator": node.op, **attributes},
            sources=node.sources,
            macs=macs or (conv.macs if conv is not None and kind == "Conv" else 0),
        )
        self.ops.append(op)
        if place in (Where.SW, Where.HYBRID):
            self.written_by_sw.update(outputs)
            self.written_by_dma.update(outputs if place is Where.HYBRID else ())
            if kind in _STORED_CHANNEL_LAST:
                self.channel_last.update(outputs)
        return op

    def _name(self, node: Node, kind: str) -> str:
        self._count += 1
        return node.name if node.op == kind else f"{node.name}/{kind}_{self._count}"

    def _read(self, name: str, in_float: bool, node: Node) -> str:
        tensor = self.tensors[name]
        if tensor.constant:
            return name
        if in_float:
            if name in self.floats:
                return self.floats[name]
            return self._convert("DequantizeLinear", name, node) if tensor.quantized else name
        return self._convert("QuantizeLinear", name, node) if name in self.floats else name

    def _write(self, name: str, in_float: bool) -> str:
        if not in_float or not self.tensors[name].quantized:
            return name
        self.floats[name] = self.fresh(name, "float", dtype="float32")
        return self.floats[name]

    def _convert(self, kind: str, name: str, node: Node) -> str:
        """One conversion for every consumer (SEEN r07, r11, r15)."""
        source = self.floats.get(name, name) if kind == "QuantizeLinear" else name
        dtype = self.tensors[name].dtype if kind == "QuantizeLinear" else "float32"
        result = self.fresh(name, "q" if kind == "QuantizeLinear" else "dq", dtype=dtype)
        rule = decide(Subject(self.graph, Node(node.name, kind, (), ()), self.version))
        self._count += 1
        self.ops.append(
            Op(
                name=f"{node.name}/{kind}_{self._count}",
                kind=kind,
                inputs=(source,),
                outputs=(result,),
                where=rule.where,
                float=True,
                rule=rule.name,
                reason=f"{rule.sentence} Inserted because {node.op} {node.name} is on the other side of the border.",
                evidence=rule.evidence,
                remedy=rule.remedy,
            )
        )
        return result

    def view(self, node: Node, source: str, result: str, kind: str = "Reshape") -> None:
        """A Reshape or another operator without work: keeps whatever form its source has.

        Args:
            node: of the graph.
            source: name of its input.
            result: name of its output.
            kind: operator of the compiler.
        """
        rule = self.pick("Reshape", node)
        if source in self.floats:
            self.floats[result] = self.fresh(result, "float", dtype="float32")
            source, result = self.floats[source], self.floats[result]
        elif not self.tensors[source].quantized and self.tensors[result].quantized:
            self.floats[result] = self.fresh(result, "float", dtype="float32")
            result = self.floats[result]
        for stored in (self.written_by_sw, self.channel_last):
            if source in stored:
                stored.add(result)
        self.ops.append(
            Op(
                name=self._name(node, kind),
                kind=kind,
                inputs=(source,),
                outputs=(result,),
                where=Where.NONE,
                rule=rule.name,
                reason=rule.sentence,
                evidence=rule.evidence,
                sources=node.sources,
            )
        )

    # convolutions -----------------------------------------------------------------------------------------------

    def conv_units(self, geometry: ConvGeometry, source: str, result: str) -> Units:
        """Units of a convolution with its scale, bias and the shift that the next convolution wants
        ([#epoch-contents]).

        Args:
            geometry: of the convolution.
            source: name of its input.
            result: name of its output.
        """
        tensor = self.tensors[source]
        plan = conv_plan(geometry, is_fast(tensor.zero_point, tensor.dtype), self.version)
        affine = 1 if has(self.version, "one_affine_unit") else 2
        small = geometry.kernel != (1, 1) and geometry.out_hw[1] <= SMALL_MAP
        return Units(conv=1 if small else plan.units, arith=affine + int(self.feeds_shifted_conv(result)))

    def feeds_shifted_conv(self, name: str) -> bool:
        """True when the tensor has zero point -128 and a convolution reads it: the producer shifts it to uint8."""
        tensor = self.tensors[name]
        shifted = tensor.dtype == "int8" and tensor.zero_point == -128
        return shifted and any(reader.op in PRODUCTS for reader in self.readers.get(name, ()))

    def shifted(self, node: Node, source: str) -> str:
        """The map as uint8, where nobody before the convolution can shift it on the way: behind software, at the input,
        and behind a Transpose (SEEN r32, r39, r56; r10 and r42 on 4.0.1).

        Not behind a hybrid epoch: the count of epochs of r11, and FastDepth's spilled bytes (3.0) to the KiB.
        """
        tensor = self.tensors[source]
        root, turned = self._root(source)
        alone = turned or root in self.written_by_sw - self.written_by_dma or self.writers.get(root) is None
        if tensor.dtype != "int8" or tensor.zero_point != -128 or not alone:
            return source
        key = (source, "shifted")
        if key not in self.cache:
            self.cache[key] = self.fresh(source, "shifted")
            self.tensors[self.cache[key]].dtype, self.tensors[self.cache[key]].zero_point = "uint8", 0
            self.emit("Sub", node, self.pick("Copy", node), [source], [self.cache[key]], units=Units(arith=1))
        return self.cache[key]

    def _root(self, name: str) -> tuple[str, bool]:
        """The tensor that a chain of views shows, and whether a Transpose is among them."""
        turned = False
        while (writer := self.writers.get(name)) is not None and writer.op in _VIEWS:
            turned |= writer.op == "Transpose"
            name = writer.inputs[0]
        return name, turned

    def lower(self) -> Lowered:
        """Lower every operator of the graph in order."""
        for node in self.graph.nodes:
            (_HANDLERS.get(node.op) or _plain)(self, node)
        outputs = tuple(self._output(name) for name in self.graph.outputs)
        notes = list(self.graph.notes)
        graph = self.graph
        return Lowered(_hoisted(self.ops), self.tensors, graph.inputs, outputs, graph.name, notes, graph.style)

    def _output(self, name: str) -> str:
        if name not in self.floats:
            return name
        return self._convert("QuantizeLinear", name, Node(name, "Output", (name,), (name,)))


def _final(graph: Graph, readers: Mapping[str, Sequence[Node]]) -> frozenset[str]:
    edges = [node for node in graph.nodes if node.attributes.get("graph_edge")]
    ends = {node.inputs[0] for node in edges if node.outputs[0] in graph.outputs}
    unread = {name for name in graph.outputs if not readers.get(name)}
    return frozenset(unread | {name for name in ends if len(readers.get(name, ())) == 1})


def _pointwise_pairs(graph: Graph, readers: Mapping[str, Sequence[Node]]) -> frozenset[str]:
    """Parts of Splits that two or more 1x1 convolutions read."""
    parts = [name for node in graph.nodes if node.op == "Split" for name in node.outputs]
    kernels = {name: [graph.shape(r.inputs[1])[2:] for r in readers.get(name, ()) if r.op == "Conv"] for name in parts}
    return frozenset(name for name, shapes in kernels.items() if shapes.count((1, 1)) > 1)


def _hoisted(ops: list[Op]) -> list[Op]:
    """Quantizations directly behind the float operator they belong to, as the compiler schedules them (SEEN r11)."""
    waiting: dict[str, list[Op]] = defaultdict(list)
    rest: list[Op] = []
    for op in ops:
        if op.kind == "QuantizeLinear" and not op.sources:
            waiting[op.inputs[0]].append(op)
        else:
            rest.append(op)
    ordered: list[Op] = []
    for op in rest:
        ordered.append(op)
        for name in op.outputs:
            ordered.extend(waiting.pop(name, ()))
    return ordered + [op for left in waiting.values() for op in left]


Handler = Callable[[Lowerer, Node], None]


def _plain(lowerer: Lowerer, node: Node) -> None:
    rule = lowerer.decide(node)
    if rule.where is Where.NONE and node.op != "Concat":
        lowerer.view(node, node.inputs[0], node.outputs[0], node.op)
        return
    lowerer.emit(node.op, node, rule, node.inputs, [name for name in node.outputs if name])
