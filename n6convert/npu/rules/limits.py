"""Numbers that placement depends on; the rules' sentences and their checks both read them here."""

from __future__ import annotations

from n6convert.npu.ir import Units
from n6convert.operators.versions import versions

__all__ = [
    "ARITH_VECTOR",
    "EPOCH_CHAINS",
    "EPOCH_STREAMS",
    "EPOCH_UNITS",
    "HW_STRIDES",
    "JOINED_CHANNELS",
    "KERNEL_HEIGHT",
    "KERNEL_WIDTH",
    "KERNEL_WIDTH_STRIDED",
    "INPUT_TILE",
    "LINE_BUFFER",
    "MAX_RANK",
    "POOL_STRIDE",
    "POOL_WINDOW",
    "SMALL_MAP",
    "SOFTMAX_EPOCHS",
    "STREAM_BATCH",
    "UNIT_CHANNELS",
    "VERSIONS",
    "values",
]

VERSIONS: tuple[tuple[int, int], ...] = versions()
"""Compiler core versions with rules of their own."""

EPOCH_UNITS = Units(conv=4, arith=4, activ=2, pool=2)
"""Units of one epoch ([#units])."""
EPOCH_STREAMS = 10
"""Stream engines of one epoch ([#units])."""
EPOCH_CHAINS = 5
"""Independent chains in one epoch ([#units])."""
KERNEL_HEIGHT = 3
"""Native kernel height ([#geometry])."""
KERNEL_WIDTH = 6
"""Native kernel width at stride 1 ([#geometry])."""
KERNEL_WIDTH_STRIDED = 12
"""Native kernel width at stride 2 and above ([#geometry])."""
HW_STRIDES = (1, 2, 4)
"""Horizontal convolution strides that the hardware has ([#geometry])."""
POOL_WINDOW = 3
"""Largest native pool window ([#geometry])."""
POOL_STRIDE = 15
"""Largest pool stride ([#onnx-operators])."""
LINE_BUFFER = 2048
"""Map width times batch depth that the line buffer of CONV_ACC holds ([#geometry])."""
INPUT_TILE = 4096
"""Bytes of one unit's input, all rows of its batch of channels, that are read once ([#line-buffer])."""
SMALL_MAP = 8
"""Up to this output width, kernels above 1x1 use one unit and another storage order (SEEN r02, r03)."""
JOINED_CHANNELS = 32
"""Unequal parts of a Concat are multiples of it where the NPU joins them (64 and 128 in r11; not 16: PeleeNet)."""
STREAM_BATCH = 16
"""Channels of the blocks in which a 1x1 convolution stores a tensor that is split or joined later (SEEN r02)."""
UNIT_CHANNELS = 128
"""Most input channels that one CONV_ACC takes at once, in deep mode ([#convolution-plan])."""
ARITH_VECTOR = 512
"""Elements of a broadcast operand that the ARITH unit holds; more are streamed ([#broadcasting])."""
SOFTMAX_EPOCHS = 3
"""Hardware epochs of one Softmax under --expand-softmax ([#onnx-operators]: 12 in place of 4 in one 4.0.1 build)."""
MAX_RANK = 4
"""Rank of tensors on the NPU ([#import])."""


def values() -> dict[str, object]:
    """All constants by name, for the sentences of the rules."""
    return {name: value for name, value in globals().items() if name.isupper()}
