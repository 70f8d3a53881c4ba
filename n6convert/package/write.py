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
from n6convert.package.application import app_config
from n6convert.package.board_files import Files, board_files
from n6convert.package.camera import Camera, probe_camera
from n6convert.package.card import card_text
from n6convert.package.csource import interface_header, interface_source
from n6convert.package.front_matter import front_matter
from n6convert.package.normalization import probe_pixels
from n6convert.package.ports import Port, read_ports
from n6convert.package.runtime import runtime_sources
from n6convert.package.selftest import selftest_header, selftest_source
from n6convert.package.tolerance import Tolerance
from n6convert.plugin import Firmware, ModelPlugin

if TYPE_CHECKING:
    import onnx_ir as ir

    from n6convert.npu.targets import Target
    from n6convert.results import Report

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
        tolerances: how far a board's outputs may lie from these, for each output.
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
    tolerances: Sequence[Tolerance]
    sample: str
    report: Report
    artifacts: Mapping[str, bytes] = field(default_factory=dict)


def flash_tables(artifacts: Mapping[str, bytes]) -> dict[str, int]:
    """Bytes of what lies in flash beside the weights: every file of the plugin's but C."""
    return {name: len(content) for name, content in sorted(artifacts.items()) if not name.endswith((".c", ".h"))}


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
    firmware = request.plugin.firmware(stem, inputs, outputs)
    _check_decoder(request, firmware)
    sizes = flash_tables(request.artifacts)
    files = board_files(stem, _command(request, inputs, outputs), request.targets, sizes)
    camera = probe_camera(request.plugin, inputs)
    files |= _sources(request, stem, inputs, outputs, firmware, camera)
    sentences = {request.model_file: "the INT8 QDQ model"} | {name: what for name, (what, _) in files.items()}
    sentences |= {name: _artifact_sentence(name, content) for name, content in request.artifacts.items()}
    published = request.plugin.published_license
    listed = dict(sorted(sentences.items()))
    notes = camera.notes() if camera else []
    card = front_matter(request.report, request.plugin.sample_kind) + "\n"
    card += card_text(
        request.report, inputs, outputs, listed, published=published, tables=sum(sizes.values()), camera=notes
    )
    for name, content in request.artifacts.items():
        (folder / name).write_bytes(content)
    for name, (_, text) in (files | {"README.md": ("", card)}).items():
        path = folder / name
        path.write_bytes(text.encode())
        if name.endswith(".sh"):
            path.chmod(0o755)
    return dict(sorted((sentences | {"README.md": "model card"}).items()))


def _artifact_sentence(name: str, content: bytes) -> str:
    if name.endswith((".c", ".h")):
        return "firmware code"
    return f"{'table' if name.endswith('.bin') else 'data'} for the flash, {len(content):,} bytes, as it is"


def _source_sentence(name: str) -> str:
    adapter = name.startswith("app_postprocess")
    return "post-processing for ST's camera applications" if adapter else "the model's own C: decoding, look-ups"


def _channel_first(request: PackageRequest) -> list[str]:
    """Inputs and outputs that the recipe wants in the graph's own layout."""
    compiler = request.report.recipe.get("compiler", {})
    graph = request.model.graph
    ends = (("input_channels", graph.inputs), ("output_channels", graph.outputs))
    return [str(value.name) for key, values in ends if compiler.get(key) == "chfirst" for value in values]


def _check_decoder(request: PackageRequest, firmware: Firmware) -> None:
    wanted = request.report.recipe.get("compiler", {}).get("output_channels")
    if wanted == "chfirst" and firmware.sources:
        raise RecipeError(
            f"the firmware of {request.plugin.name} decodes channel-last maps", place="compiler.output_channels",
            limit="chlast", found=wanted, remedy="leave compiler.output_channels at chlast",
        )  # fmt: skip


def _command(request: PackageRequest, inputs: Sequence[Port], outputs: Sequence[Port]) -> list[str]:
    """The compile command."""
    compiler = request.report.recipe.get("compiler", {})
    return generate_command(
        request.model_file,
        request.targets[0].name,
        profile_file="user_neuralart.json",
        name=network_name(request.name),
        input_type=request.types[0],
        output_type=request.types[1],
        channels_last_input=any(p.channel_last for p in inputs),
        allocate=_allocated(compiler),
        extra=["--outputs-ch-position", "chlast"] if any(p.channel_last for p in outputs) else [],
    )


def _allocated(compiler: Mapping[str, Any]) -> tuple[bool, bool]:
    return bool(compiler.get("allocate_inputs", True)), bool(compiler.get("allocate_outputs", True))


def network_name(name: str) -> str:
    """What ST's symbols carry: the name as it is where it is a C identifier."""
    plain = c_identifier(name)
    return name if plain == name.lower() else plain


def _sources(
    request: PackageRequest,
    stem: str,
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    firmware: Firmware,
    camera: Camera | None,
) -> Files:
    pixels = next((m for p in inputs if (m := probe_pixels(request.plugin, p)) is not None), None)
    header = interface_header(stem, inputs, outputs, pixels, firmware.defines)
    test = selftest_source(stem, inputs, outputs, request.feeds, request.expected)
    files: Files = {
        f"{stem}.h": ("buffers, grids, pixel arithmetic and constants of the model", header),
        f"{stem}.c": ("the tables of that header", interface_source(stem, inputs, outputs)),
        f"{stem}_selftest.h": (
            "one real input and the outputs it must give",
            selftest_header(stem, inputs, outputs, request.sample, request.tolerances),
        ),
        f"{stem}_selftest.c": ("the arrays of the self-test", test),
    }
    version = request.targets[0].version
    allocated = _allocated(request.report.recipe.get("compiler", {}))
    network = network_name(request.name)
    running = runtime_sources(stem, network, inputs, outputs, version=version, allocated=allocated)
    files |= {name: ("runs the network on the NPU, and its self-test", text) for name, text in running.items()}
    if camera is not None:
        lines = app_config(stem, request.model_file, camera, firmware.application)
        files[f"{stem}_app_config.h"] = ("lines for app_config.h of ST's camera applications", lines)
    files |= {name: (_source_sentence(name), text) for name, text in firmware.sources.items()}
    return files | {name: ("configuration for firmware", text) for name, text in firmware.configuration.items()}
