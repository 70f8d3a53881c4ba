"""The command line that compiles a package with ST Edge AI ([#command-line])."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from n6convert.npu.targets import load_target
from n6convert.operators.versions import has

__all__ = ["PROFILE", "generate_command", "profile_options"]

PROFILE = "n6convert"
"""Name of the profile inside the package's user_neuralart.json."""

_SHARED = ("--native-float", "--cache-maintenance", "--Ocache-opt", "--enable-virtual-mem-pools", "--Os")
_DEEP = ("--optimization 3", "--Oauto-sched", "--Omax-ca-pipe 4", "--all-buffers-info")
_MVEI = ("--mvei",)
_SEARCHED, _FIXED = "--Oauto-sched", "--Oalt-sched"
"""Scheduler of n6-allmems-O3, which tries several, and of ST's applications."""


def generate_command(
    model: str | PurePath,
    target: str,
    *,
    profile_file: str | None = None,
    profile: str = PROFILE,
    name: str = "network",
    output: str = "st_ai_output",
    workspace: str = "st_ai_ws",
    input_type: str | None = None,
    output_type: str | None = None,
    channels_last_input: bool = False,
    allocate: tuple[bool, bool] = (True, True),
    extra: Sequence[str] = (),
) -> list[str]:
    """Arguments of ``stedgeai generate`` for a model on the NPU, program name first.

    Args:
        model: path of the quantized model, relative to the folder in which the command runs.
        target: ``board@version``; only its series matters here.
        profile_file: user_neuralart.json that holds ``profile``; None takes ST's built-in default profile.
        input_type, output_type: ``int8``, ``uint8`` or ``float32``; None keeps the model's own.
        channels_last_input: feed NHWC, which saves the transpose of a camera image.
        allocate: keep the buffers of inputs, and of outputs, inside the activations.
        extra: further arguments, appended as they are.
    """
    profile_argument = f"{profile}@{profile_file}" if profile_file else "default"
    command = ["stedgeai", "generate", "--model", str(model), "--target", series(target)]
    command += ["--st-neural-art", profile_argument, "--name", name, "--output", output, "--workspace", workspace]
    command += ["--input-data-type", input_type] if input_type else []
    command += ["--output-data-type", output_type] if output_type else []
    command += ["--inputs-ch-position", "chlast"] if channels_last_input else []
    command += [] if allocate[0] else ["--no-inputs-allocation"]
    command += [] if allocate[1] else ["--no-outputs-allocation"]
    return [*command, *extra]


def series(target: str) -> str:
    """ST Edge AI's name of the series of a board, such as ``stm32n6``."""
    return load_target(target).series


def profile_options(version: tuple[int, int], *, epoch_controller: bool = True, application: bool = False) -> list[str]:
    """atonn options of the package's profile: ST's n6-allmems-O3 ([#command-line]), with the epoch controller unless
    refused; or those of ST's camera applications, which leave the scheduler no choice.

    ``--mvei`` exists up to core 2.2 only ([#command-line], reports of 3.0 and 4.0 never pass it).

    Args:
        version: of the compiler.
        epoch_controller: whether blobs are started by the controller.
        application: as ST's camera applications do.
    """
    deep = [_FIXED if application and word == _SEARCHED else word for word in _DEEP]
    options = [*_SHARED, *deep, *(_MVEI if has(version, "mvei_option") else ())]
    return [*options, "--enable-epoch-controller"] if epoch_controller else options
