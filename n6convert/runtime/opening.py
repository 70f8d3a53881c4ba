"""Opening sessions of onnxruntime: its settings that hold for every graph."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["opened", "session_options"]

_PROVIDERS = ["CPUExecutionProvider"]
#: environment variable; with `plain` operators run one by one, which add in another order than those onnxruntime picks
#: for a CPU: a way to see what hangs on that order
_KERNELS = "N6CONVERT_KERNELS"


def session_options(*, optimize: bool = True) -> onnxruntime.SessionOptions:
    """Settings of a silent session with one thread.

    Args:
        optimize: let onnxruntime fuse operators.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    # or signed weights that are left saturate at 16 bits on x86 without VNNI
    options.add_session_config_entry("session.x64quantprecision", "1")
    if not optimize or os.environ.get(_KERNELS) == "plain":
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


def opened(
    model: bytes | str, options: onnxruntime.SessionOptions, without: Sequence[str] = ()
) -> onnxruntime.InferenceSession:
    """A session on the CPU.

    Args:
        model: a serialized graph, or the path of a file.
        options: its settings.
        without: names of optimizers that are not to run.

    Raises:
        Exception: a dozen unrelated types of onnxruntime's, which does not accept the model.
    """
    import onnxruntime as ort

    return ort.InferenceSession(model, options, _PROVIDERS, disabled_optimizers=list(without))
