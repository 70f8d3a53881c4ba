"""The numbers behind the limits: checks and the sentences the user reads take them from here alone ([#command-line],
[#import], [#quantization])."""

from __future__ import annotations

from n6convert.graph.operators import SELECTIONS

__all__ = [
    "CAMERA_ROW",
    "DIM_LIMIT",
    "IR_FOUR_BITS",
    "IR_MAX",
    "IR_WRITTEN",
    "LEVELS_FULL",
    "LEVELS_LOST",
    "LEVELS_POOR",
    "MATMUL_RANK",
    "OPSET_FOUR_BITS",
    "OPSET_MAX",
    "OPSET_MIN",
    "OPSET_PER_CHANNEL",
    "RANK_FRONT_END",
    "RANK_NPU",
    "SAME_GRID",
    "SCATTER_RANK",
    "SLICE_AXES",
]

CAMERA_ROW = 16
IR_MAX = 9
IR_WRITTEN = 8
OPSET_MIN = 7
OPSET_MAX = 20
#: opset and IR version of files whose weights have four bits (seen in ST's own) [#four-bit-weights]
OPSET_FOUR_BITS, IR_FOUR_BITS = 21, 10
OPSET_PER_CHANNEL = 13
RANK_FRONT_END = 6
RANK_NPU = 4
MATMUL_RANK = 3
SCATTER_RANK = 5
SLICE_AXES = 3
DIM_LIMIT = 65_536

#: of the 256 levels of an 8-bit grid: LEVELS_FULL are plenty, below LEVELS_POOR precision is lost, below
#: LEVELS_LOST the meaning
LEVELS_FULL = 64
LEVELS_POOR = 24
LEVELS_LOST = 6

#: operators that only move values: one grid on both sides, else the compiler adds a requantization
SAME_GRID = SELECTIONS | {"Resize"}
