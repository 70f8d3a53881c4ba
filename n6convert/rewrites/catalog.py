"""All built-in rules in the order in which they are tried, and named sets of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from n6convert.rewrites.activation_forms import ActivationForms
from n6convert.rewrites.base import Rewrite
from n6convert.rewrites.batch_norm import BatchNormToAffine, InstanceNormDecompose
from n6convert.rewrites.centre_keys import CentreKeys
from n6convert.rewrites.centring_into_weights import CentringIntoWeights
from n6convert.rewrites.channel_pad import ChannelPadToConv
from n6convert.rewrites.channel_shuffle_to_conv import ChannelShuffleToConv
from n6convert.rewrites.comparison_to_activation import ComparisonToActivation
from n6convert.rewrites.concat_conv_split import ConcatConvSplit
from n6convert.rewrites.concat_equal_chunks import ConcatEqualChunks
from n6convert.rewrites.concat_off_batch import ConcatOffBatch
from n6convert.rewrites.conv_transpose import ConvTransposeToConv
from n6convert.rewrites.cut_before_join import CutBeforeJoin
from n6convert.rewrites.cut_before_work import CutBeforeWork
from n6convert.rewrites.cut_off_batch import CutOffBatch
from n6convert.rewrites.cut_product import ColumnToMean, CutPad, CutProduct
from n6convert.rewrites.depth_to_channels import DepthToChannels
from n6convert.rewrites.depth_to_space import DepthToSpaceToConv
from n6convert.rewrites.division import DivisionToProduct
from n6convert.rewrites.drop_no_ops import DropNoOps
from n6convert.rewrites.einsum_to_matmul import EinsumToMatMul
from n6convert.rewrites.elu_to_exp import EluToExp
from n6convert.rewrites.expand_to_broadcast import ExpandToBroadcast
from n6convert.rewrites.expand_to_resize import ExpandToResize
from n6convert.rewrites.flip_by_slices import FlipBySlices
from n6convert.rewrites.fold_into_conv import FoldIntoConv
from n6convert.rewrites.four_axes import FourAxes
from n6convert.rewrites.full_map_depthwise import FullMapDepthwise
from n6convert.rewrites.gather_to_slice import GatherToSlice
from n6convert.rewrites.gelu import GeluNormalForm
from n6convert.rewrites.gemm_bias_apart import GemmBiasApart
from n6convert.rewrites.layernorm import LayerNormDecompose
from n6convert.rewrites.linear_attention import NormalizedAttention
from n6convert.rewrites.linear_to_conv import LinearToConv
from n6convert.rewrites.long_conv_by_rows import LongConvByRows
from n6convert.rewrites.matmul_to_mul_mean import MatMulToMulMean
from n6convert.rewrites.max_min import MaxMin
from n6convert.rewrites.merge_constants import MergeConstants
from n6convert.rewrites.merge_convs import MergeConvs
from n6convert.rewrites.merge_layout import MergeLayout
from n6convert.rewrites.outermost_axis import OutermostAxis
from n6convert.rewrites.pad_channels import PadChannels
from n6convert.rewrites.pad_output_channels import PadOutputChannels
from n6convert.rewrites.pixel_shuffle_forms import PixelShuffleForms
from n6convert.rewrites.pool_forms import PoolForms
from n6convert.rewrites.prelu_to_relu import PReluToRelu
from n6convert.rewrites.reduce_to_pool import ReduceToPool
from n6convert.rewrites.resize_to_conv import ResizeToConv
from n6convert.rewrites.scalar_before_matmul import ScalarBeforeMatMul
from n6convert.rewrites.scale_into_next_conv import ScaleIntoNextConv
from n6convert.rewrites.sink_layout import SinkLayout
from n6convert.rewrites.sink_moves import SinkMoves
from n6convert.rewrites.slice_normal_form import SliceNormalForm
from n6convert.rewrites.softmax import SoftmaxDecompose
from n6convert.rewrites.strided_conv_by_blocks import StridedConvByBlocks
from n6convert.rewrites.strided_slice_to_conv import FocusToConv, StridedSliceToConv
from n6convert.rewrites.transpose_by_slices import TransposeBySlices
from n6convert.rewrites.two_sided_broadcast import TwoSidedBroadcast
from n6convert.rewrites.unroll_recurrent import UnrollRecurrent
from n6convert.rewrites.view_to_reshape import ViewToReshape
from n6convert.rewrites.where_to_product import WhereToProduct
from n6convert.rewrites.wide_conv_split import WideConvSplit

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


def all_rules() -> list[Rewrite[Any]]:
    """Fresh instances of all built-in rules, in the order in which they are tried."""
    return [
        ViewToReshape(),
        DropNoOps(),
        UnrollRecurrent(),
        EinsumToMatMul(),
        DepthToChannels(),
        GemmBiasApart(),
        FlipBySlices(),
        LongConvByRows(),
        ExpandToResize(),
        FourAxes(),
        CentreKeys(),
        SliceNormalForm(),
        GatherToSlice(),
        CutBeforeJoin(),
        CutBeforeWork(),
        CutProduct(),
        CutPad(),
        ColumnToMean(),
        NormalizedAttention(),
        LayerNormDecompose(),
        ActivationForms(),
        ComparisonToActivation(),
        WhereToProduct(),
        ExpandToBroadcast(),
        MaxMin(),
        EluToExp(),
        GeluNormalForm(),
        ScalarBeforeMatMul(),
        LinearToConv(),
        MatMulToMulMean(),
        MergeConstants(),
        MergeLayout(),
        SinkLayout(),
        SinkMoves(),
        FoldIntoConv(),
        ScaleIntoNextConv(),
        FullMapDepthwise(),
        ResizeToConv(),
        PixelShuffleForms(),
        DepthToSpaceToConv(),
        PReluToRelu(),
        ConcatOffBatch(),
        CutOffBatch(),
        ConcatEqualChunks(),
        ConcatConvSplit(),
        ReduceToPool(),
        PoolForms(),
        DivisionToProduct(),
        CentringIntoWeights(),
        BatchNormToAffine(),
        InstanceNormDecompose(),
        ChannelPadToConv(),
        ConvTransposeToConv(),
        FocusToConv(),
        MergeConvs(),
        StridedConvByBlocks(),
        StridedSliceToConv(),
        PadChannels(),
        PadOutputChannels(),
        WideConvSplit(),
        TwoSidedBroadcast(),
        OutermostAxis(),
        SoftmaxDecompose(),
        ChannelShuffleToConv(),
        TransposeBySlices(),
    ]
