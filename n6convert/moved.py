"""Old import paths: what moved works for one minor version more, with a DeprecationWarning."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.abc import Loader as _Loader
else:  # which loads importlib.resources and zipfile with it, in every command
    _Loader = object

__all__ = ["MOVED", "watch"]

_SINCE, _UNTIL = "0.1", "0.2"
#: old module -> new module, both below the package
MOVED = {
    "acceptance": "results.acceptance",
    "cache": "store.cache",
    "cache_content": "store.content",
    "cache_entry": "store.entry",
    "cache_use": "store.users",
    "child_process": "runtime.child_process",
    "classifier": "builtin.classifier",
    "dag": "graph.dag",
    "downloads": "weights.downloads",
    "hashing": "store.hashing",
    "host_operators": "operators.host",
    "hub": "weights.hub",
    "inputs": "store.inputs",
    "int8": "runtime.int8",
    "int8.kernels": "runtime.int8.kernels",
    "int8.operands": "runtime.int8.operands",
    "int8.reference": "runtime.int8.reference",
    "int8.whole_numbers": "runtime.int8.whole_numbers",
    "locks": "store.locks",
    "losses": "results.losses",
    "manifest": "pipeline.manifest",
    "network": "weights.network",
    "numerics": "runtime",
    "opset": "graph.opset",
    "outputs": "store.outputs",
    "package.normalisation": "package.normalization",
    "preflight": "pipeline.preflight",
    "project": "recipe.project",
    "publish": "pipeline.publish",
    "quantization.analytic": "quantization.layerwise.analytic_bias_correction",
    "quantization.batch_norm": "quantization.prepare.batch_norm",
    "quantization.bias_correction": "quantization.layerwise.bias_correction",
    "quantization.calibrate": "quantization.ranges.calibrate",
    "quantization.channels": "quantization.equalization.channel_map",
    "quantization.choose": "quantization.ranges.auto",
    "quantization.clock": "quantization.time_budget",
    "quantization.config": "recipe.quantization",
    "quantization.effect": "quantization.ranges.consumers",
    "quantization.equalize": "quantization.equalization.equalize",
    "quantization.find_ranges": "quantization.ranges.find",
    "quantization.four_bits": "quantization.weights.four_bits",
    "quantization.gates": "quantization.reparameterization.gate_input",
    "quantization.grids": "quantization.grid.from_ranges",
    "quantization.histogram": "quantization.ranges.histogram",
    "quantization.judge": "quantization.fidelity",
    "quantization.labels": "quantization.equalization.scale_variables",
    "quantization.linear": "quantization.prepare.linear",
    "quantization.masks": "quantization.prepare.attention_masks",
    "quantization.merge_pairs": "quantization.reparameterization.merge_convolutions",
    "quantization.mixed": "quantization.joined_outputs",
    "quantization.mixed_weights": "quantization.weights.mixed_precision",
    "quantization.normalize": "quantization.prepare.operator_forms",
    "quantization.plan": "quantization.grid.plan",
    "quantization.qdq": "quantization.grid.qdq",
    "quantization.ranges_io": "quantization.ranges.file",
    "quantization.refine": "quantization.layerwise.refine",
    "quantization.roles": "quantization.topology.roles",
    "quantization.rounding": "quantization.layerwise.rounding",
    "quantization.scores": "quantization.ranges.softmax_scores",
    "quantization.second_order": "quantization.layerwise.second_order",
    "quantization.shared_grids": "quantization.grid.shared_grids",
    "quantization.shared_weights": "quantization.weights.shared_weights",
    "quantization.sharing": "quantization.topology.sharing",
    "quantization.split_products": "quantization.reparameterization.split_products",
    "quantization.subgraph": "graph.extract",
    "quantization.walk": "quantization.layerwise.walk",
    "quantization.wide_functions": "quantization.reparameterization.wide_range_functions",
    "quantization.wide_norm": "quantization.reparameterization.outlier_norm",
    "quantization.zero_points": "quantization.grid.zero_points",
    "recipe_errors": "recipe.messages",
    "recipes_io": "recipe",
    "reporting": "pipeline.reporting",
    "rewrites.activation_forms": "rewrites.rules.activation.activation_forms",
    "rewrites.alone": "rewrites.isolated",
    "rewrites.api": "rewrites.select",
    "rewrites.base": "rewrites.rule",
    "rewrites.batch_norm": "rewrites.rules.normalization.batchnorm_to_affine",
    "rewrites.build": "graph.builder",
    "rewrites.centre_keys": "rewrites.rules.attention.centre_keys",
    "rewrites.centring_into_weights": "rewrites.rules.normalization.centring_into_weights",
    "rewrites.channel_pad": "rewrites.rules.convolution.channel_pad_to_conv",
    "rewrites.channel_shuffle_to_conv": "rewrites.rules.convolution.channel_shuffle_to_conv",
    "rewrites.comparison_reader": "graph.patterns.comparison",
    "rewrites.comparison_to_activation": "rewrites.rules.activation.comparison_to_activation",
    "rewrites.concat_conv_split": "rewrites.rules.convolution.concat_conv_split",
    "rewrites.concat_equal_chunks": "rewrites.rules.slicing.concat_equal_chunks",
    "rewrites.concat_off_batch": "rewrites.rules.slicing.concat_off_batch",
    "rewrites.config": "recipe.rewrite",
    "rewrites.conv_transpose": "rewrites.rules.convolution.conv_transpose_to_conv",
    "rewrites.cut_before_join": "rewrites.rules.slicing.cut_before_join",
    "rewrites.cut_before_work": "rewrites.rules.slicing.cut_before_work",
    "rewrites.cut_off_batch": "rewrites.rules.slicing.cut_off_batch",
    "rewrites.cut_product": "rewrites.rules.slicing.cut_product",
    "rewrites.depth_to_channels": "rewrites.rules.convolution.depth_to_channels",
    "rewrites.depth_to_space": "rewrites.rules.convolution.depth_to_space_to_conv",
    "rewrites.division": "rewrites.rules.activation.division_to_product",
    "rewrites.drop_no_ops": "rewrites.rules.cleanup.drop_no_ops",
    "rewrites.einsum_to_matmul": "rewrites.rules.matmul.einsum_to_matmul",
    "rewrites.elu_to_exp": "rewrites.rules.activation.elu_to_exp",
    "rewrites.expand_to_broadcast": "rewrites.rules.layout.expand_to_broadcast",
    "rewrites.expand_to_resize": "rewrites.rules.layout.expand_to_resize",
    "rewrites.flip_by_slices": "rewrites.rules.slicing.flip_by_slices",
    "rewrites.fold_into_conv": "rewrites.rules.convolution.fold_into_conv",
    "rewrites.four_axes": "rewrites.rules.layout.four_axes",
    "rewrites.full_map_depthwise": "rewrites.rules.convolution.full_map_depthwise",
    "rewrites.gather_to_slice": "rewrites.rules.slicing.gather_to_slice",
    "rewrites.gelu": "rewrites.rules.activation.gelu_normal_form",
    "rewrites.gemm_bias_apart": "rewrites.rules.matmul.gemm_bias_apart",
    "rewrites.graph": "graph.query",
    "rewrites.layernorm": "rewrites.rules.normalization.layernorm_decompose",
    "rewrites.layout": "graph.layout",
    "rewrites.linear_attention": "rewrites.rules.attention.normalized_attention",
    "rewrites.linear_to_conv": "rewrites.rules.matmul.linear_to_conv",
    "rewrites.long_conv_by_rows": "rewrites.rules.convolution.long_conv_by_rows",
    "rewrites.matmul_to_mul_mean": "rewrites.rules.matmul.matmul_to_mul_mean",
    "rewrites.max_min": "rewrites.rules.activation.max_min_to_relu",
    "rewrites.merge_constants": "rewrites.rules.cleanup.merge_constants",
    "rewrites.merge_convs": "rewrites.rules.convolution.merge_convs",
    "rewrites.merge_layout": "rewrites.rules.layout.merge_layout",
    "rewrites.norm_pattern": "graph.patterns.norm",
    "rewrites.ordering": "graph.order",
    "rewrites.outermost_axis": "rewrites.rules.layout.outermost_axis",
    "rewrites.pad_channels": "rewrites.rules.convolution.pad_channels",
    "rewrites.pad_output_channels": "rewrites.rules.convolution.pad_output_channels",
    "rewrites.piecewise": "graph.patterns.piecewise",
    "rewrites.pixel_shuffle_forms": "rewrites.rules.layout.pixel_shuffle_forms",
    "rewrites.pool_forms": "rewrites.rules.pooling.pool_forms",
    "rewrites.prelu_to_relu": "rewrites.rules.activation.prelu_to_relu",
    "rewrites.recurrent_node": "graph.patterns.recurrent",
    "rewrites.reduce_to_pool": "rewrites.rules.pooling.reduce_to_pool",
    "rewrites.resize_to_conv": "rewrites.rules.convolution.resize_to_conv",
    "rewrites.scalar_before_matmul": "rewrites.rules.matmul.scalar_before_matmul",
    "rewrites.scale_into_next_conv": "rewrites.rules.convolution.scale_into_next_conv",
    "rewrites.sink_layout": "rewrites.rules.layout.sink_layout",
    "rewrites.sink_moves": "rewrites.rules.layout.sink_moves",
    "rewrites.slice_normal_form": "rewrites.rules.slicing.slice_normal_form",
    "rewrites.softmax": "rewrites.rules.attention.softmax_decompose",
    "rewrites.strided_conv_by_blocks": "rewrites.rules.convolution.strided_conv_by_blocks",
    "rewrites.strided_slice_to_conv": "rewrites.rules.slicing.strided_slice_to_conv",
    "rewrites.transpose_by_slices": "rewrites.rules.layout.transpose_by_slices",
    "rewrites.two_sided_broadcast": "rewrites.rules.layout.two_sided_broadcast",
    "rewrites.unroll_recurrent": "rewrites.rules.recurrent.unroll_recurrent",
    "rewrites.view_to_reshape": "rewrites.rules.layout.view_to_reshape",
    "rewrites.weigh": "rewrites.by_latency",
    "rewrites.where_to_product": "rewrites.rules.activation.where_to_product",
    "rewrites.wide_conv_split": "rewrites.rules.convolution.wide_conv_split",
    "run": "pipeline.run",
    "sampling": "pipeline.sampling",
    "secure_http": "weights.secure_http",
    "simplify": "rewrites.simplify",
    "stages": "pipeline.stages",
    "stages.accepting": "pipeline.stages.accepting",
    "stages.base": "pipeline.stages.base",
    "stages.estimate": "pipeline.stages.estimate",
    "stages.evaluate": "pipeline.stages.evaluate",
    "stages.export": "pipeline.stages.export",
    "stages.lint": "pipeline.stages.lint",
    "stages.package": "pipeline.stages.package",
    "stages.probes": "pipeline.stages.probes",
    "stages.quantize": "pipeline.stages.quantize",
    "stages.rewrite": "pipeline.stages.rewrite",
    "stages.simplify": "pipeline.stages.simplify",
    "stages.tune": "pipeline.stages.tune",
    "states": "graph.states",
    "threads": "runtime.threads",
    "trust": "weights.trust",
    "tuning.config": "recipe.tune",
    "yaml_text": "store.yaml_text",
}


def watch() -> None:
    """Let old paths be found, before the path of a package that moved as a whole gives its files a second time."""
    sys.meta_path.insert(0, _OldPaths())


class _OldPaths:
    """Finds modules under the names that they had."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        new = MOVED.get(name.removeprefix("n6convert.")) if name.startswith("n6convert.") else None
        return None if new is None else ModuleSpec(name, _Moved(f"n6convert.{new}"))


class _Moved(_Loader):
    """Gives the module of the new name."""

    def __init__(self, new: str) -> None:
        self._new = new

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        message = f"{spec.name} is {self._new} since n6convert {_SINCE}; the old name goes with {_UNTIL}"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        module = import_module(self._new)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import system has put the old name there
