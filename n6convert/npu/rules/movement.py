"""Where operators run that move data: layout, concatenation, slices, resizes, pads ([#layout] - [#pad])."""

from __future__ import annotations

import math

from n6convert.graph.operators import PARTS
from n6convert.npu.ir import Where
from n6convert.npu.layout import only_ones_move
from n6convert.npu.rules.base import Subject, rule
from n6convert.npu.rules.limits import JOINED_CHANNELS, SMALL_MAP

HW_PERMUTATIONS = {(0, 3, 1, 2), (0, 2, 3, 1), (0, 2, 1)}
"""Channel position changes: the DMA does them (SEEN 25/25 r15, r02, r03)."""
_SPLITS = tuple(sorted(PARTS))
_BYTES = {"int8", "uint8", "bool"}


def _perm(s: Subject) -> tuple[int, ...]:
    rank = len(s.data[0].shape)
    return tuple(s.attribute("perm") or range(rank - 1, -1, -1))


def squeezed(shape: tuple[int, ...], perm: tuple[int, ...]) -> tuple[int, ...]:
    """A permutation of maps of one row without that axis, renumbered: [1, C, 1, W] is the front end's form of
    [1, C, W]. Other axes of size 1 stay (r25: (0,3,2,1) of [1,64,96,1] is software)."""
    axes = [axis for axis in perm if not (axis == 2 and len(shape) == 4 and shape[axis] == 1)]
    ranked = sorted(axes)
    return tuple(ranked.index(axis) for axis in axes)


@rule(
    "GlobalAveragePool",
    "ReduceMean",
    where=Where.SW,
    without="keras_exports",
    evidence="inferred: time of EfficientNetV2 (2.0, 3.0), memory of EfficientNet LC, which has no float map",
    remedy="keep the map of the mean (1x1) instead of a vector that is reshaped",
)
def mean_of_a_gate(s: Subject) -> bool:
    """A mean that drops its map, gets it back from a Reshape and gates the map it was taken from, as Keras exports
    squeeze and excitation, runs on the M55 before core 4.0."""
    return bool(s.attribute("gate"))


@rule("Transpose", where=Where.NONE, evidence="documented")
def transpose_of_ones(s: Subject) -> bool:
    """A Transpose that only moves axes of size 1 is a Reshape."""
    return only_ones_move(s.data[0].shape, _perm(s))


@rule(
    "Transpose",
    where=Where.SW,
    as_float=True,
    evidence="seen in float networks",
    remedy="quantize the model",
)
def transpose_in_float_model(s: Subject) -> bool:
    """In a float model Transposes run on the M55."""
    return s.graph.style == "float"


@rule("Transpose", where=Where.HW, evidence="seen 25/25 (r15), r02, r03 and 13/13 elsewhere; float outputs r02, r03")
def transpose_channel_position(s: Subject) -> bool:
    """A Transpose that moves the channel axis between first and last place is done by the DMA (float too)."""
    perm = _perm(s)
    return perm in HW_PERMUTATIONS or squeezed(s.data[0].shape, perm) in HW_PERMUTATIONS


@rule(
    "Transpose",
    where=Where.SW,
    without="hybrid",
    evidence="(0,2,1,3): seen 18/18 (r15), 22/22 (r56), r27; (0,3,2,1): seen r02, r25, r31",
    remedy="split heads by channel groups instead of transposing",
    rewrite="transpose-by-slices",
)
def transpose_inner(s: Subject) -> bool:
    """Other permutations, such as (0,2,1,3), are executed by the M55 in int8."""
    return True


@rule(
    "Transpose",
    where=Where.HYBRID,
    needs="hybrid",
    evidence="seen r11 (core 4.0.1): (0,2,1,3); (0,1,3,2) in another network",
    remedy="split heads by channel groups instead of transposing",
    rewrite="transpose-by-slices",
)
def transpose_inner_hybrid(s: Subject) -> bool:
    """Other permutations, such as (0,2,1,3), are executed by the M55 and the DMA together."""
    return True


@rule("Concat", where=Where.HW, evidence="seen 2/2 (r02), 12/12 (r15)")
def concat_outermost(s: Subject) -> bool:
    """A Concat on the outermost axis of contiguous tensors needs no copy by the M55, whatever the sizes."""
    shape = s.output.shape
    axis = s.axis()
    return len(shape) < 4 and math.prod(shape[:axis]) == 1


@rule("Concat", where=Where.HW, evidence="seen in every case (11 in r02, r11 and others)")
def concat_equal_channels(s: Subject) -> bool:
    """A Concat of equal parts on the channel axis is done by the DMA."""
    axis = s.axis()
    return axis == 1 and len({tensor.shape for tensor in s.data}) == 1


@rule("Concat", where=Where.NONE, needs="output_concat", evidence="seen r05 only (3 of 3 on 3.0; software on 2.1)")
def concat_of_output(s: Subject) -> bool:
    """A Concat on the channel axis that is an output of the network costs nothing: the convolutions before it write
    their channels into the output."""
    return s.node.outputs[0] in s.final and s.axis() == 1 and not s.written_by_sw


@rule(
    "Concat",
    where=Where.SW,
    without="hybrid",
    evidence="unequal channels and the innermost axis: seen 9/9 (r02), 8/8 (r31), 3/3 (r05), 2/2 (r03)",
    remedy="make the parts equal, or replace Concat + 1x1 Conv by a sum of two 1x1 Convs",
    rewrite="concat-conv-split",
)
def concat_unequal(s: Subject) -> bool:
    """A Concat of unequal parts on the channel axis, or on an inner axis, is executed by the M55."""
    return True


@rule(
    "Concat",
    where=Where.HW,
    needs="unequal_concat",
    evidence="inferred from 4/4 unequal Concats of r11 (core 4.0.1), and from the time of PeleeNet (3.0), whose parts "
    "of 16 channels are not; the exact rule is not known",
)
def concat_unequal_from_npu(s: Subject) -> bool:
    """A Concat of unequal parts on the channel axis stays on the NPU when the NPU writes all parts, each is a multiple
    of the smallest and of {JOINED_CHANNELS}, and the map is wider than {SMALL_MAP}."""
    sizes = [tensor.shape[1] for tensor in s.data if len(tensor.shape) == 4]
    if s.axis() != 1 or len(sizes) < 2 or len(sizes) != len(s.node.inputs):
        return False
    multiples = all(size % min(sizes) == 0 and size % JOINED_CHANNELS == 0 for size in sizes)
    wide = s.output.shape[3] > SMALL_MAP
    return multiples and wide and not s.written_by_sw


@rule(
    "Concat",
    where=Where.HYBRID,
    needs="hybrid",
    evidence="seen r11: 3 of 4 unequal channel Concats and 2/2 on the innermost axis; the exact rule is not known",
    remedy="make the parts equal, or replace Concat + 1x1 Conv by a sum of two 1x1 Convs",
    rewrite="concat-conv-split",
)
def concat_unequal_hybrid(s: Subject) -> bool:
    """A Concat of unequal parts on the channel axis, or on an inner axis, is executed by M55 and DMA together."""
    return True


def _changed_axis(s: Subject) -> int:
    before, after = s.data[0].shape, s.output.shape
    changed = [axis for axis, size in enumerate(before) if axis < len(after) and size != after[axis]]
    return changed[-1] if changed else 0


@rule(
    "Split",
    where=Where.SW,
    without="hybrid",
    evidence="seen 6/6 (r15)",
    remedy="keep the operator before it on the NPU",
)
def split_behind_software(s: Subject) -> bool:
    """A Split of a tensor that a software operator stored channel-last is executed by the M55."""
    return s.node.inputs[0] in s.stored_channel_last


@rule(
    "Split",
    where=Where.HYBRID,
    needs="hybrid",
    evidence="inferred from 6/6 software Splits of r15 and the hybrid ones of 4.0.1",
    remedy="keep the operator before it on the NPU",
)
def split_behind_software_hybrid(s: Subject) -> bool:
    """A Split of a tensor that a software operator stored channel-last is executed by M55 and DMA together."""
    return s.node.inputs[0] in s.stored_channel_last


@rule(*_SPLITS, where=Where.NONE, evidence="documented")
def slice_of_everything(s: Subject) -> bool:
    """A Slice that keeps everything is no work."""
    return s.data[0].shape == s.output.shape


@rule(
    "Split",
    where=Where.HYBRID,
    needs="hybrid",
    evidence="seen elsewhere (3 of 3 in a YOLO11 on 4.x: the blocks whose half two 1x1 layers read; not r11's)",
    remedy="slice with two 1x1 convolutions",
)
def split_for_pointwise_layers(s: Subject) -> bool:
    """A Split on the channel axis of which two 1x1 convolutions read the same part is executed by M55 and DMA
    together."""
    return _changed_axis(s) == 1 and any(name in s.pointwise_pairs for name in s.node.outputs)


@rule(*_SPLITS, where=Where.HW, evidence="seen on channels (r02, r11, r31), on the outermost axis (r15, r24)")
def split_outer(s: Subject) -> bool:
    """Slices on the channel axis or on the outermost axis are done by the DMA."""
    axis = _changed_axis(s)
    shape = s.data[0].shape
    return axis == 1 and (len(shape) > 2 or shape[0] == 1) or math.prod(shape[:axis]) == 1


@rule(
    *_SPLITS,
    where=Where.SW,
    without="hybrid",
    evidence="seen 6/6 (r02), 4/4 (r31)",
    remedy="slice on the channel axis",
    rewrite="sink-moves",
)
def split_inner(s: Subject) -> bool:
    """Slices on an inner axis are executed by the M55."""
    return True


@rule(
    *_SPLITS,
    where=Where.HYBRID,
    needs="hybrid",
    evidence="seen in one network on 4.0.1",
    remedy="slice on the channel axis",
    rewrite="sink-moves",
)
def split_inner_hybrid(s: Subject) -> bool:
    """Slices on an inner axis are executed by M55 and DMA together."""
    return True


def is_native_nearest(s: Subject) -> bool:
    """True for nearest neighbor, asymmetric, floor, by whole factors: the only mode the compiler maps."""
    before, after = s.data[0].shape, s.output.shape
    whole = len(before) == 4 and all(a % b == 0 for a, b in zip(after, before, strict=True) if b)
    mode = s.attribute("coordinate_transformation_mode", "half_pixel")
    rounding = s.attribute("nearest_mode", "round_prefer_floor")
    return whole and s.attribute("mode", "nearest") == "nearest" and mode == "asymmetric" and rounding == "floor"


@rule(
    "Resize",
    where=Where.HW,
    evidence="seen r02, r05, r11, r31 (8/8; half-pixel TFLite files too: r05, r31)",
    rewrite="resize-to-conv",
)
def resize_nearest(s: Subject) -> bool:
    """Nearest neighbor with asymmetric coordinates and floor becomes a Concat of copies and a DepthToSpace."""
    return is_native_nearest(s)


@rule(
    "Resize",
    where=Where.SW,
    evidence="seen 4/4 (r03), 3/3 (r17), 2/2 (r18)",
    remedy="use nearest neighbor with asymmetric coordinates and floor, or 1x1 convolutions over height and width",
    rewrite="resize-to-conv",
)
def resize_other(s: Subject) -> bool:
    """All other resizes run on the M55 in int8."""
    return True


@rule(
    "Pad",
    where=Where.SW,
    evidence="inferred: convolutions and DMA pad with one value; ST's table of TFLite operators lacks MIRROR_PAD",
    remedy="pad with zeros, as part of the convolution",
)
def pad_of_border(s: Subject) -> bool:
    """Padding that repeats or mirrors the border is a copy by the M55."""
    return str(s.attribute("mode", "constant")) != "constant"


@rule("Pad", where=Where.HW, evidence="seen r02, r10 (folded) and documented")
def pad_spatial(s: Subject) -> bool:
    """Padding of height and width is folded into the convolution behind it, or is an identity convolution."""
    return _changed_axis(s) > 1


@rule(
    "Pad",
    where=Where.HW,
    evidence="seen 6/6 (r27), 11/11 (r56)",
    remedy="concatenate zeros of equal size, or use a 1x1 convolution with zero rows",
)
def pad_channels(s: Subject) -> bool:
    """Padding of channels is a padding convolution between two Transposes, which run off the NPU."""
    return True


@rule("Cast", where=Where.SW, as_float=True, evidence="documented", remedy="remove the cast before quantizing")
def cast_of_wide_types(s: Subject) -> bool:
    """Casts from or to types of more than 8 bits are executed by the M55."""
    return any(tensor.dtype not in _BYTES for tensor in (*s.data, s.output))


@rule("Cast", where=Where.HW, evidence="documented")
def cast(s: Subject) -> bool:
    """Casts between 8-bit types are done by the DMA."""
    return True
