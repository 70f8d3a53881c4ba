"""Writing the folder that ST Edge AI and firmware take over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from n6convert.errors import RecipeError
from n6convert.escaping import c_identifier
from n6convert.npu.st.command import generate_command
from n6convert.package.card import card_text
from n6convert.package.commands import batch_text, command_json, shell_text
from n6convert.package.csource import interface_header, interface_source
from n6convert.package.normalisation import probe_pixels
from n6convert.package.ports import Port, read_ports
from n6convert.package.profiles import mpool_text, profile_text
from n6convert.package.selftest import selftest_header, selftest_source
from n6convert.package.tolerance import Tolerance, rounding_tolerances
from n6convert.plugin import Firmware, ModelPlugin

if TYPE_CHECKING:
    import onnx_ir as ir

    from n6convert.npu.targets import Target

__all__ = ["PackageRequest", "flash_tables", "write_package"]


@dataclass(frozen=True)
class PackageRequest:
    """What goes into a package.

    Attributes:
        model: the INT8 QDQ model; ``model_file`` is its file name in the folder.
        name: of the network; every C symbol and file of the package begins with it.
        types: of the elements of input and of output buffers, as the package is compiled ([#ends]).
        plugin: asked for pixel arithmetic and firmware code.
        targets: boards to write profiles for; the first one is compiled for by default.
        feeds, expected: one sample's inputs and the INT8 model's outputs, real values by tensor name.
        report: the run's facts.
        artifacts: the plugin's own files by name.
    """

    model: ir.Model
    model_file: str
    name: str
    types: tuple[str, str]
    plugin: ModelPlugin
    targets: Sequence[Target]
    feeds: Mapping[str, NDArray[Any]]
    expected: Mapping[str, NDArray[Any]]
    sample: str
    report: Mapping[str, Any]
    artifacts: Mapping[str, bytes] = field(default_factory=dict)


def flash_tables(artifacts: Mapping[str, bytes]) -> dict[str, int]:
    """Bytes of the plugin's tables that lie in flash beside the weights: its binary files."""
    return {name: len(content) for name, content in sorted(artifacts.items()) if name.endswith(".bin")}


def write_package(folder: Path, request: PackageRequest) -> dict[str, str]:
    """Write everything beside the model file.

    Returns:
        what lies in the folder: a sentence by file name, sorted.

    Raises:
        GraphError: an input or output of the model is not INT8.
        RecipeError: channel-first outputs for a decoder that reads channel-last ones.
    """
    plain_inputs, plain_outputs = read_ports(request.model, channel_first=_channel_first(request))
    inputs = [port.compiled_as(request.types[0]) for port in plain_inputs]
    outputs = [port.compiled_as(request.types[1]) for port in plain_outputs]
    stem = f"n6_{c_identifier(request.name)}"
    tolerances = rounding_tolerances(request.model, plain_outputs, request.feeds, request.expected)
    firmware = request.plugin.firmware(stem, inputs, outputs)
    _check_decoder(request, firmware)
    files = _compile_files(request, inputs, outputs) | _sources(request, stem, inputs, outputs, firmware, tolerances)
    sentences = {request.model_file: "the INT8 QDQ model"} | {name: what for name, (what, _) in files.items()}
    sentences |= {name: _artifact_sentence(name, content) for name, content in request.artifacts.items()}
    published = request.plugin.published_license
    tables = sum(flash_tables(request.artifacts).values())
    listed = dict(sorted(sentences.items()))
    card = card_text(request.report, inputs, outputs, listed, published=published, tables=tables)
    for name, content in request.artifacts.items():
        (folder / name).write_bytes(content)
    for name, (_, text) in (files | {"README.md": ("", card)}).items():
        path = folder / name
        path.write_bytes(text.encode())
        if name.endswith(".sh"):
            path.chmod(0o755)
    return dict(sorted((sentences | {"README.md": "model card"}).items()))


def _artifact_sentence(name: str, content: bytes) -> str:
    if name.endswith(".bin"):
        return f"table for the flash, {len(content):,} bytes, as it is"
    return "firmware code" if name.endswith((".c", ".h")) else "what the application needs beside the model"


def _channel_first(request: PackageRequest) -> list[str]:
    """Inputs and outputs that the recipe wants in the graph's own layout."""
    compiler = request.report.get("recipe", {}).get("compiler", {})
    graph = request.model.graph
    ends = (("input_channels", graph.inputs), ("output_channels", graph.outputs))
    return [str(value.name) for key, values in ends if compiler.get(key) == "chfirst" for value in values]


def _check_decoder(request: PackageRequest, firmware: Firmware) -> None:
    wanted = request.report.get("recipe", {}).get("compiler", {}).get("output_channels")
    if wanted == "chfirst" and firmware.sources:
        raise RecipeError(
            f"the firmware of {request.plugin.name} decodes channel-last maps", place="compiler.output_channels",
            limit="chlast", found=wanted, remedy="leave compiler.output_channels at chlast",
        )  # fmt: skip


Files = dict[str, tuple[str, str]]


def _compile_files(request: PackageRequest, inputs: Sequence[Port], outputs: Sequence[Port]) -> Files:
    """The compile command and one memory description and profile file a board."""
    main = request.targets[0]
    extra = ["--outputs-ch-position", "chlast"] if any(p.channel_last for p in outputs) else []
    compiler = request.report.get("recipe", {}).get("compiler", {})
    command = generate_command(
        request.model_file,
        main.name,
        profile_file="user_neuralart.json",
        name=c_identifier(request.name),
        input_type=request.types[0],
        output_type=request.types[1],
        channels_last_input=any(p.channel_last for p in inputs),
        allocate=(compiler.get("allocate_inputs", True), compiler.get("allocate_outputs", True)),
        extra=extra,
    )
    files: Files = {
        "generate.sh": ("compiles the model (Linux, macOS)", shell_text(command, main.name)),
        "generate.bat": ("compiles the model (Windows)", batch_text(command, main.name)),
        "stedgeai.json": ("the compile command for `n6convert compile`", command_json(command, main.name)),
    }
    for target in request.targets:
        mpool = f"{target.label}.mpool"
        profile = "user_neuralart.json" if target is main else f"user_neuralart.{target.label}.json"
        files[mpool] = (f"memory pools of the {target.label}", mpool_text(target.pools))
        files[profile] = (f"compiler profile for the {target.board}", profile_text(target, mpool))
    return files


def _sources(
    request: PackageRequest,
    stem: str,
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    firmware: Firmware,
    tolerances: Sequence[Tolerance],
) -> Files:
    pixels = next((m for p in inputs if (m := probe_pixels(request.plugin, p)) is not None), None)
    header = interface_header(stem, inputs, outputs, pixels, firmware.defines)
    test = selftest_source(stem, inputs, outputs, request.feeds, request.expected)
    files: Files = {
        f"{stem}.h": ("buffers, grids, pixel arithmetic and constants of the model", header),
        f"{stem}.c": ("the tables of that header", interface_source(stem, inputs, outputs)),
        f"{stem}_selftest.h": (
            "one real input and the outputs it must give",
            selftest_header(stem, inputs, outputs, request.sample, tolerances),
        ),
        f"{stem}_selftest.c": ("the arrays of the self-test", test),
    }
    files |= {name: ("decodes the outputs on the board", text) for name, text in firmware.sources.items()}
    return files | {name: ("configuration for firmware", text) for name, text in firmware.configuration.items()}
