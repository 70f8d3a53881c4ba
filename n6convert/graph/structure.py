"""How a graph hangs together: nodes, inputs and outputs that exist, names written once, no cycles, bounded sizes."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from n6convert.graph.fault import Fault, shortened
from n6convert.graph.operators import CONVERSIONS

if TYPE_CHECKING:
    import onnx

__all__ = [
    "MAX_DEPTH",
    "MAX_NODES",
    "count_faults",
    "interface_faults",
    "label",
    "sort_nodes",
    "text_faults",
    "wiring_faults",
]

#: operators in all, local functions expanded and branches counted; networks that fit the NPU have hundreds
MAX_NODES = 8_000
#: what an operator counts for; one that only says what codes stand for counts 1, as each operator brings some
_WHOLE = 4
#: branches within branches
MAX_DEPTH = 10

_Scopes = tuple["set[str] | dict[str, int]", ...]
_FunctionKey = tuple[str, str, str]


def label(node: onnx.NodeProto) -> str:
    """What a message calls a node: its name, or what it writes, and the operator."""
    name = node.name or next((name for name in node.output if name), "without name")
    return f"{shortened(name)} ({shortened(node.op_type or 'no operator')})"


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Bodies and branches of a node."""
    return [g for a in node.attribute if a.type in (5, 10) for g in ((a.g,) if a.type == 5 else a.graphs)]


def text_faults(model: onnx.ModelProto) -> Iterator[Fault]:
    """Names and other texts that are not UTF-8, which protobuf hands on as bytes."""
    stack: list[Any] = [model]
    while stack:
        message = stack.pop()
        if message.DESCRIPTOR.name == "TensorProto":  # its values are not looked at
            stack.extend(message.external_data)
            texts = [("name", message.name), ("doc_string", message.doc_string)]
        else:
            fields = [(field, value) for field, value in message.ListFields() if field.type in (9, 11)]
            listed = [(f, [v] if isinstance(v, (str, bytes)) or hasattr(v, "ListFields") else v) for f, v in fields]
            stack.extend(value for field, values in listed if field.type == 11 for value in values)
            texts = [(field.name, value) for field, values in listed if field.type == 9 for value in values]
        for name, text in texts:
            if isinstance(text, bytes):
                found = f"{name}: {text[:80]!r}"
                yield Fault("texts", "a name or text in the file is damaged", limit="UTF-8", found=found)


def count_faults(model: onnx.ModelProto) -> Iterator[Fault]:
    """An empty graph, branches nested too deeply, functions that call themselves, more operators than any network."""
    if not model.graph.node:
        if model.graph.ByteSize():
            remedy = "check what was exported: the network itself is missing"
            yield Fault("empty-graph", "the graph has no nodes", remedy=remedy)
        else:
            yield Fault("empty-graph", "the file holds no graph", remedy="is this really an ONNX file?")
        return
    if (depth := _depth(model)) > MAX_DEPTH:
        yield Fault("nesting", "branches lie too deep within each other", limit=f"{MAX_DEPTH} levels", found=str(depth))
        return
    functions = {(f.domain, f.name, f.overload): f for f in model.functions}
    own, calls = _contents(model.graph.node, functions)
    total: int | None = own
    sizes = _function_sizes(functions) if calls else {}
    for key, times in calls.items():
        size = sizes.get(key)
        total = None if size is None or total is None else total + times * size
    if total is None:
        yield Fault("recursive-function", "a local function calls itself", limit="functions that end")
    elif total > _WHOLE * MAX_NODES:
        expanded = " after its functions are expanded" if calls else ""
        yield Fault(
            "too-many-nodes",
            f"the model has too many operators{expanded}",
            limit=f"{MAX_NODES:,}",
            found=f"{total // _WHOLE:,}",
            remedy="the NPU has no room for such a network: use a smaller one",
        )


def _depth(model: onnx.ModelProto) -> int:
    level: list[onnx.NodeProto] = [*model.graph.node, *(node for f in model.functions for node in f.node)]
    depth = 0
    while level := [node for outer in level for graph in subgraphs(outer) for node in graph.node]:
        depth += 1
    return depth


def _contents(
    nodes: Sequence[onnx.NodeProto], functions: dict[_FunctionKey, onnx.FunctionProto]
) -> tuple[int, dict[_FunctionKey, int]]:
    """Operators of a body in quarters, its branches included, and how often it calls each local function."""
    count, calls, stack = 0, dict[_FunctionKey, int](), list(nodes)
    while stack:
        node = stack.pop()
        key = (node.domain, node.op_type, node.overload)
        if key in functions:
            calls[key] = calls.get(key, 0) + 1
        else:
            count += 1 if node.op_type in CONVERSIONS else _WHOLE
        stack.extend(inner for graph in subgraphs(node) for inner in graph.node)
    return count, calls


def _function_sizes(functions: dict[_FunctionKey, onnx.FunctionProto]) -> dict[_FunctionKey, int]:
    """Quarters of operators of each function with those it calls expanded; functions that never end are left out."""
    bodies = {key: _contents(function.node, functions) for key, function in functions.items()}
    callers: dict[_FunctionKey, list[_FunctionKey]] = defaultdict(list)
    for key, (_, calls) in bodies.items():
        for callee in calls:
            callers[callee].append(key)
    waiting = {key: len(calls) for key, (_, calls) in bodies.items()}
    ready = deque(key for key, count in waiting.items() if not count)
    sizes: dict[_FunctionKey, int] = {}
    while ready:
        key = ready.popleft()
        own, calls = bodies[key]
        sizes[key] = own + sum(times * sizes[callee] for callee, times in calls.items())
        for caller in callers[key]:
            waiting[caller] -= 1
            if not waiting[caller]:
                ready.append(caller)
    return sizes


def interface_faults(graph: onnx.GraphProto) -> Iterator[Fault]:
    """Inputs and outputs that are missing, nameless, listed twice or no tensors."""
    stored = {t.name for t in graph.initializer}
    if not graph.output:
        yield Fault("no-outputs", "the graph has no outputs")
    if all(info.name in stored for info in graph.input):
        yield Fault("no-inputs", "the graph has no inputs", limit="at least one that is no weight")
    for role, infos in (("input", graph.input), ("output", graph.output)):
        seen: set[str] = set()
        for info in infos:
            if not info.name or info.name in seen:
                problem = f"an {role} is listed twice" if info.name else f"an {role} has no name"
                yield Fault("interface-names", problem, tensor=info.name or None)
            seen.add(info.name)
            kind = info.type.WhichOneof("value")
            if kind not in (None, "tensor_type"):
                found = kind.removesuffix("_type").replace("_", " ")
                yield Fault("no-tensor", f"an {role} is no tensor", tensor=info.name, limit="tensors", found=found)


def wiring_faults(graph: onnx.GraphProto, outer: _Scopes = ()) -> Iterator[Fault]:
    """Tensors written twice or by nobody, and cycles; in every subgraph too."""
    given = [t.name for t in graph.initializer]
    for name in _repeated(given):
        yield Fault("written-twice", "two weights have the same name", tensor=name)
    known = {*given, *(t.values.name for t in graph.sparse_initializer), *(v.name for v in graph.input)}
    written: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        for name in filter(None, node.output):
            if name in written or name in known:
                yield Fault("written-twice", "a tensor is written twice", label(node), name)
            written[name] = index
    scopes = (*outer, known, written)
    for node in graph.node:
        for name in dict.fromkeys(filter(None, node.input)):
            if not any(name in scope for scope in scopes):
                yield Fault("unwritten", "a node reads a tensor that nothing produces", label(node), name)
        for inner in subgraphs(node):
            yield from wiring_faults(inner, scopes)
    for info in graph.output:
        if not any(info.name in scope for scope in scopes):
            yield Fault("unwritten", "a graph output is produced by no node", tensor=info.name)
    stuck = _order(graph)[1]
    if stuck is not None:
        yield Fault("graph-cycle", "the graph has a cycle", label(graph.node[stuck]))


def _repeated(names: Sequence[str]) -> list[str]:
    counts: dict[str, int] = defaultdict(int)
    for name in names:
        counts[name] += 1
    return [name for name, count in counts.items() if count > 1]


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Bring the nodes of a graph without cycles into execution order, in place; one in order stays as it is."""
    order = _order(graph)[0]
    if order != list(range(len(graph.node))):
        nodes = [graph.node[index] for index in order]
        copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)
    for node in graph.node:
        for inner in subgraphs(node):
            sort_nodes(inner)


def _order(graph: onnx.GraphProto) -> tuple[list[int], int | None]:
    """Indices of the nodes in execution order (stable, linear in nodes and edges), and a node of a cycle, if any."""
    written = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    sources = [sorted({written[name] for name in _reads(node) if name in written}) for node in graph.node]
    if all(not before or before[-1] < index for index, before in enumerate(sources)):
        return list(range(len(sources))), None
    readers: dict[int, list[int]] = defaultdict(list)
    for index, before in enumerate(sources):
        for source in before:
            readers[source].append(index)
    waiting = [len(before) for before in sources]
    ready = deque(index for index, count in enumerate(waiting) if not count)
    order: list[int] = []
    while ready:
        order.append(ready.popleft())
        for reader in readers[order[-1]]:
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    return order, None if len(order) == len(sources) else _on_cycle(sources, waiting)


def _on_cycle(sources: list[list[int]], waiting: list[int]) -> int:
    """A node that waits for itself: walking back from any stuck node ends in a cycle."""
    node, seen = next(index for index, count in enumerate(waiting) if count), set[int]()
    while node not in seen:
        seen.add(node)
        node = next(source for source in sources[node] if waiting[source])
    return node


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """Names a node reads, those that its subgraphs take from outside included."""
    yield from node.input
    for graph in subgraphs(node):
        own = {v.name for v in graph.input} | {t.name for t in graph.initializer}
        own |= {name for inner in graph.node for name in inner.output}
        yield from (name for inner in graph.node for name in _reads(inner) if name not in own)
        yield from (info.name for info in graph.output if info.name not in own)
