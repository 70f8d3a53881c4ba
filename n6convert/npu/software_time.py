"""Time of software and hybrid epochs: CPU cycles of kernels, waits for external RAM and for copies
([#software-time])."""

from __future__ import annotations

from collections.abc import Mapping

from n6convert.npu.ir import Epoch, Op, Tensor, Where
from n6convert.npu.st.mpool import MemoryPool
from n6convert.npu.targets import Target

__all__ = ["software_time", "switch_time"]

_HYBRID_KERNELS = frozenset({"Concat", "DepthToSpace", "SpaceToDepth", "Transpose"})


def software_time(
    epoch: Epoch, tensors: Mapping[str, Tensor], pools: Mapping[str, MemoryPool], target: Target
) -> float:
    """Microseconds of a software or hybrid epoch; ``pools`` says where the tensors that cross its border lie.

    Args:
        epoch: on the CPU, or on both.
        tensors: by name.
        pools: where the tensors that cross its border lie.
        target: board and compiler version.
    """
    waits = _transfers(epoch, tensors, pools, target) + _copies(epoch, tensors, target)
    cycles = sum(_software(op, tensors, target) for op in epoch.ops)
    return cycles / target.clocks.cpu + waits / target.clocks.npu


def switch_time(target: Target) -> float:
    """Microseconds of cache maintenance around a software epoch between hardware epochs."""
    pays = target.epoch_controller and not target.has("hybrid")
    return target.constants["overheads.switch_cpu_cycles"] / target.clocks.cpu if pays else 0.0


def _transfers(epoch: Epoch, tensors: Mapping[str, Tensor], pools: Mapping[str, MemoryPool], target: Target) -> float:
    """NPU cycles that a software epoch waits for the external RAM."""
    crossing = dict.fromkeys((*epoch.inputs, *epoch.outputs))
    outside = sum(tensors[name].nbytes for name in crossing if name in pools and pools[name].external)
    return outside * target.clocks.npu / target.hyperram_mb_s


def _copies(epoch: Epoch, tensors: Mapping[str, Tensor], target: Target) -> float:
    """NPU cycles of the copies that hybrid operators start."""
    total = 0.0
    for op in epoch.ops:
        kernel = target.kernels.get(_kernel_name(op, tensors))
        if kernel is not None and kernel.npu:
            total += kernel.npu * op.repeat * sum(tensors[name].nbytes for name in op.outputs if name in tensors)
    return total


def _software(op: Op, tensors: Mapping[str, Tensor], target: Target) -> float:
    """CPU cycles of one software or hybrid operator, all repeats ([#software-time])."""
    without = "" if target.epoch_controller else "_without_controller"
    fixed = target.constants[f"software.fixed{without}_cpu_cycles"]
    if op.kind in {"Reshape", "Identity", "Flatten", "Squeeze", "Unsqueeze"}:
        return fixed
    kernel = target.kernels.get(_kernel_name(op, tensors))
    if kernel is not None and kernel.fixed is not None:
        fixed = kernel.fixed
    written = [tensors[name] for name in op.outputs if name in tensors]
    read = [tensors[name] for name in op.inputs if name in tensors and not tensors[name].constant]
    if kernel is not None and kernel.unit == "mac":
        return fixed * op.repeat + kernel.cycles * op.macs
    if kernel is not None and kernel.unit == "byte":
        return (fixed + kernel.cycles * sum(tensor.nbytes for tensor in written)) * op.repeat
    elements = max((tensor.elements for tensor in (*read[:1], *written)), default=0)
    rate = kernel.cycles if kernel is not None else target.constants["software.default_per_element"]
    return (fixed + rate * elements) * op.repeat


def _kernel_name(op: Op, tensors: Mapping[str, Tensor]) -> str:
    """Key into the target's kernels: variants have their condition in parentheses."""
    if op.kind in {"Add", "Sub", "Mul", "Div", "GlobalAveragePool"} and not op.float:
        return f"{op.kind}(int8)"
    if _innermost(op, tensors):
        return "Concat(innermost)"
    return f"{op.kind}(hybrid)" if op.where is Where.HYBRID and op.kind in _HYBRID_KERNELS else op.kind


def _innermost(op: Op, tensors: Mapping[str, Tensor]) -> bool:
    """A Concat on the last axis is a byte-wise CPU copy ([#joins])."""
    if op.kind != "Concat" or not op.outputs or op.outputs[0] not in tensors:
        return False
    shape = tensors[op.outputs[0]].shape
    parts = [tensors[name].shape for name in op.inputs if name in tensors]
    return bool(shape) and any(len(part) == len(shape) and part[-1] != shape[-1] for part in parts)
