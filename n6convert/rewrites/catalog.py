"""All built-in rules in the order in which they are tried, and named sets of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from n6convert.rewrites.rule import Rewrite
from n6convert.rewrites.rules.activation.activation_forms import ActivationForms
from n6convert.rewrites.rules.activation.comparison_to_activation import ComparisonToActivation
from n6convert.rewrites.rules.activation.division_to_product import DivisionToProduct
from n6convert.rewrites.rules.activation.elu_to_exp import EluToExp
from n6convert.rewrites.rules.activation.gelu_normal_form import GeluNormalForm
from n6convert.rewrites.rules.activation.max_min_to_relu import MaxMin
from n6convert.rewrites.rules.activation.prelu_to_relu import PReluToRelu
from n6convert.rewrites.rules.activation.shrink_forms import ShrinkForms
from n6convert.rewrites.rules.activation.softplus_forms import SoftplusForms
from n6convert.rewrites.rules.activation.trilu_to_product import TriluToProduct
from n6convert.rewrites.rules.activation.where_to_product import WhereToProduct
from n6convert.rewrites.rules.attention.centre_keys import CentreKeys
from n6convert.rewrites.rules.attention.centre_values import CentreValues
from n6convert.rewrites.rules.attention.hidden_rows import HiddenRows
from n6convert.rewrites.rules.attention.normalized_attention import NormalizedAttention
from n6convert.rewrites.rules.attention.softmax_decompose import SoftmaxDecompose
from n6convert.rewrites.rules.cleanup.drop_no_ops import DropNoOps
from n6convert.rewrites.rules.cleanup.drop_unread_parts import DropUnreadParts
from n6convert.rewrites.rules.cleanup.merge_constants import MergeConstants
from n6convert.rewrites.rules.convolution.channel_pad_to_conv import ChannelPadToConv
from n6convert.rewrites.rules.convolution.channel_shuffle_to_conv import ChannelShuffleToConv
from n6convert.rewrites.rules.convolution.channels_in_parallel import ChannelsInParallel
from n6convert.rewrites.rules.convolution.concat_conv_split import ConcatConvSplit
from n6convert.rewrites.rules.convolution.conv_transpose_to_conv import ConvTransposeToConv
from n6convert.rewrites.rules.convolution.depth_to_channels import DepthToChannels
from n6convert.rewrites.rules.convolution.depth_to_space_to_conv import DepthToSpaceToConv
from n6convert.rewrites.rules.convolution.fold_into_conv import FoldIntoConv
from n6convert.rewrites.rules.convolution.full_map_depthwise import FullMapDepthwise
from n6convert.rewrites.rules.convolution.long_conv_by_rows import LongConvByRows
from n6convert.rewrites.rules.convolution.merge_convs import MergeConvs
from n6convert.rewrites.rules.convolution.pad_channels import PadChannels
from n6convert.rewrites.rules.convolution.pad_output_channels import PadOutputChannels
from n6convert.rewrites.rules.convolution.resize_to_conv import ResizeToConv
from n6convert.rewrites.rules.convolution.scale_into_next_conv import ScaleIntoNextConv
from n6convert.rewrites.rules.convolution.stft_to_conv import StftToConv
from n6convert.rewrites.rules.convolution.strided_conv_by_blocks import StridedConvByBlocks
from n6convert.rewrites.rules.convolution.wide_conv_split import WideConvSplit
from n6convert.rewrites.rules.layout.cut_on_four_axes import CutOnFourAxes
from n6convert.rewrites.rules.layout.expand_to_broadcast import ExpandToBroadcast
from n6convert.rewrites.rules.layout.expand_to_resize import ExpandToResize
from n6convert.rewrites.rules.layout.four_axes import FourAxes
from n6convert.rewrites.rules.layout.merge_layout import MergeLayout
from n6convert.rewrites.rules.layout.outermost_axis import OutermostAxis
from n6convert.rewrites.rules.layout.pixel_shuffle_forms import PixelShuffleForms
from n6convert.rewrites.rules.layout.sink_layout import SinkLayout
from n6convert.rewrites.rules.layout.sink_moves import SinkMoves
from n6convert.rewrites.rules.layout.transpose_by_slices import TransposeBySlices
from n6convert.rewrites.rules.layout.transpose_off_batch import TransposeOffBatch
from n6convert.rewrites.rules.layout.two_sided_broadcast import TwoSidedBroadcast
from n6convert.rewrites.rules.layout.view_to_reshape import ViewToReshape
from n6convert.rewrites.rules.matmul.column_to_mean import ColumnToMean
from n6convert.rewrites.rules.matmul.cumsum_to_matmul import CumSumToMatMul
from n6convert.rewrites.rules.matmul.dft_to_matmul import DftToMatMul
from n6convert.rewrites.rules.matmul.einsum_to_matmul import EinsumToMatMul
from n6convert.rewrites.rules.matmul.gemm_bias_apart import GemmBiasApart
from n6convert.rewrites.rules.matmul.linear_to_conv import LinearToConv
from n6convert.rewrites.rules.matmul.matmul_to_mul_mean import MatMulToMulMean
from n6convert.rewrites.rules.matmul.scalar_before_matmul import ScalarBeforeMatMul
from n6convert.rewrites.rules.matmul.stack_to_grouped_conv import StackToGroupedConv
from n6convert.rewrites.rules.normalization.batchnorm_to_affine import BatchNormToAffine
from n6convert.rewrites.rules.normalization.centring_into_weights import CenteringIntoWeights
from n6convert.rewrites.rules.normalization.instancenorm_decompose import InstanceNormDecompose
from n6convert.rewrites.rules.normalization.layernorm_decompose import LayerNormDecompose
from n6convert.rewrites.rules.normalization.lrn_decompose import LrnDecompose
from n6convert.rewrites.rules.pooling.dilated_average_to_conv import DilatedAverageToConv
from n6convert.rewrites.rules.pooling.pool_before_join import PoolBeforeJoin
from n6convert.rewrites.rules.pooling.pool_forms import PoolForms
from n6convert.rewrites.rules.pooling.reduce_to_pool import ReduceToPool
from n6convert.rewrites.rules.pooling.reduction_forms import ReductionForms
from n6convert.rewrites.rules.recurrent.unroll_recurrent import UnrollRecurrent
from n6convert.rewrites.rules.slicing.border_pad_to_concat import BorderPadToConcat
from n6convert.rewrites.rules.slicing.concat_equal_chunks import ConcatEqualChunks
from n6convert.rewrites.rules.slicing.concat_off_batch import ConcatOffBatch
from n6convert.rewrites.rules.slicing.cut_before_join import CutBeforeJoin
from n6convert.rewrites.rules.slicing.cut_before_work import CutBeforeWork
from n6convert.rewrites.rules.slicing.cut_off_batch import CutOffBatch
from n6convert.rewrites.rules.slicing.cut_pad import CutPad
from n6convert.rewrites.rules.slicing.cut_product import CutProduct
from n6convert.rewrites.rules.slicing.flip_by_slices import FlipBySlices
from n6convert.rewrites.rules.slicing.focus_to_conv import FocusToConv
from n6convert.rewrites.rules.slicing.gather_to_slice import GatherToSlice
from n6convert.rewrites.rules.slicing.scatter_to_concat import ScatterToConcat
from n6convert.rewrites.rules.slicing.slice_normal_form import SliceNormalForm
from n6convert.rewrites.rules.slicing.strided_slice_to_conv import StridedSliceToConv

__all__ = ["COMBINATIONS", "all_rules"]


_B = ("linear-to-conv", "layernorm-decompose", "centring-into-weights", "gelu-normal-form", "transpose-by-slices")
COMBINATIONS: Mapping[str, tuple[str, ...]] = {
    "A": (),
    "B": _B,
    "C": (*_B, "softmax-decompose"),
    "D": (*_B, "softmax-decompose", "matmul-to-mul-mean"),
}
"""The ways of lowering a transformer that [#combinations] compares: stock; norms and layout; softmax; attention
products."""


#: in the order in which they are tried
_ORDER: tuple[Callable[[], Rewrite[Any]], ...] = (
    ViewToReshape,
    DropNoOps,
    DropUnreadParts,
    UnrollRecurrent,
    EinsumToMatMul,
    StftToConv,
    DftToMatMul,
    CumSumToMatMul,
    ReductionForms,
    ScatterToConcat,
    DepthToChannels,
    GemmBiasApart,
    FlipBySlices,
    LongConvByRows,
    ExpandToResize,
    TransposeOffBatch,
    FourAxes,
    CutOnFourAxes,
    CentreKeys,
    CentreValues,
    SliceNormalForm,
    GatherToSlice,
    CutBeforeJoin,
    CutBeforeWork,
    CutProduct,
    CutPad,
    ColumnToMean,
    NormalizedAttention,
    LayerNormDecompose,
    ActivationForms,
    ComparisonToActivation,
    HiddenRows,
    WhereToProduct,
    ExpandToBroadcast,
    MaxMin,
    EluToExp,
    SoftplusForms,
    ShrinkForms,
    TriluToProduct,
    GeluNormalForm,
    ScalarBeforeMatMul,
    StackToGroupedConv,
    LinearToConv,
    MatMulToMulMean,
    MergeConstants,
    MergeLayout,
    SinkLayout,
    SinkMoves,
    FoldIntoConv,
    ScaleIntoNextConv,
    FullMapDepthwise,
    ResizeToConv,
    PixelShuffleForms,
    DepthToSpaceToConv,
    PReluToRelu,
    ConcatOffBatch,
    CutOffBatch,
    ConcatEqualChunks,
    ConcatConvSplit,
    DilatedAverageToConv,
    ReduceToPool,
    PoolForms,
    DivisionToProduct,
    CenteringIntoWeights,
    BatchNormToAffine,
    InstanceNormDecompose,
    LrnDecompose,
    ChannelPadToConv,
    BorderPadToConcat,
    ConvTransposeToConv,
    FocusToConv,
    MergeConvs,
    StridedConvByBlocks,
    StridedSliceToConv,
    PadChannels,
    PadOutputChannels,
    WideConvSplit,
    PoolBeforeJoin,
    TwoSidedBroadcast,
    OutermostAxis,
    SoftmaxDecompose,
    ChannelShuffleToConv,
    TransposeBySlices,
    ChannelsInParallel,
)


def all_rules() -> list[Rewrite[Any]]:
    """Fresh instances of all built-in rules, in the order in which they are tried."""
    return [rule() for rule in _ORDER]
