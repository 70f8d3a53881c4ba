"""Options of the compiler: what they change in a prediction, and that a report's own are taken from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nets.qdq import QdqBuilder
from typer.testing import CliRunner

from n6convert.api.comparing import compare_report
from n6convert.cli.entry import app
from n6convert.errors import RecipeError
from n6convert.npu import Estimate, estimate
from n6convert.npu.ends import Ends
from n6convert.npu.options import STOCK, CompilerOptions, of_recipe, options_of
from n6convert.npu.st import StReport, read_report
from n6convert.recipe.schema import CompilerConfig, PackageConfig, Recipe

KIT = "stm32n6570-dk@4.0"


def _net(path: Path) -> Path:
    import onnx

    builder = QdqBuilder("net")
    x = builder.conv(builder.input(1, 3, 64, 64), 3, 16, 3)
    builder.output(builder.conv(builder.op("Softmax", x, axis=1), 16, 8))
    onnx.save(builder.model(), str(path / "net.onnx"))
    return path / "net.onnx"


def _found(path: Path, **options: object) -> Estimate:
    return estimate(_net(path), KIT, options=CompilerOptions(**options))  # type: ignore[arg-type]


def test_float_ends_cost_a_conversion_each(tmp_path: Path) -> None:
    plain = _found(tmp_path).placement.sw_ops
    both = _found(tmp_path, ends=Ends("float32", "float32")).placement.sw_ops
    assert plain == {"Softmax": 1}
    assert both == {"Softmax": 1, "QuantizeLinear": 1, "DequantizeLinear": 1}


def test_channels_last_saves_the_copy_of_the_input(tmp_path: Path) -> None:
    plain, last = _found(tmp_path), _found(tmp_path, ends=Ends(input_channels="chlast"))
    assert plain.placement.epochs.total - last.placement.epochs.total == 1


def _heads(path: Path, *, channel_last: bool = False) -> Path:
    """Two maps out, of 8 channels and of 1, and a vector."""
    import onnx

    builder = QdqBuilder("heads")
    x = builder.conv(builder.input(1, 1, 32, 32), 1, 16, 3)
    wide, narrow = builder.conv(x, 16, 8), builder.conv(x, 16, 1)
    builder.output(builder.op("Transpose", wide, perm=[0, 2, 3, 1]) if channel_last else wide)
    builder.output(narrow)
    builder.output(builder.op("GlobalAveragePool", x))
    onnx.save(builder.model(), str(path / "heads.onnx"))
    return path / "heads.onnx"


@pytest.mark.parametrize(("position", "copies"), [(None, 1), ("chfirst", 1), ("chlast", 0)])
def test_planes_out_of_the_npu_are_a_copy(tmp_path: Path, position: str | None, copies: int) -> None:
    """Only the map of eight channels has planes to write apart; 8,192 bytes at one a beat."""
    ends = CompilerOptions(Ends(output_channels=position))
    found = estimate(_heads(tmp_path), KIT, options=ends)
    turns = [op for op in found.lowered.ops if op.kind == "Transpose"]
    assert [op.where.value for op in turns] == ["hw"] * copies
    if copies:
        epoch = next(e for e in found.schedule.epochs if turns[0] in e.ops)
        cost = next(c for c in found.costs.epochs if c.id == epoch.id)
        assert (cost.bound, cost.needs["memory"]) == ("memory", pytest.approx(8 * 32 * 32 / 1000))


def test_a_channel_last_output_of_the_model_needs_no_second_copy(tmp_path: Path) -> None:
    path = _heads(tmp_path, channel_last=True)
    plain = estimate(path, KIT)
    assert sum(op.kind == "Transpose" for op in plain.lowered.ops) == 1
    last = estimate(path, KIT, options=CompilerOptions(Ends(output_channels="chlast")))
    assert plain.placement.epochs == last.placement.epochs


def test_software_and_float_ends_write_their_own_order(tmp_path: Path) -> None:
    as_float = estimate(_heads(tmp_path), KIT, options=CompilerOptions(Ends(output_type="float32")))
    assert not any(op.kind == "Transpose" for op in as_float.lowered.ops)
    assert as_float.placement.sw_ops == {"DequantizeLinear": 3}


def test_positions_of_a_tflite_file(neuralart_dir: Path) -> None:
    """r17, heatmaps [1,48,48,13]: channel-last as filed; channel-first it is the inner map and one copy more."""
    path = next((neuralart_dir / "reports").glob("r17_*/*.tflite"))
    filed = estimate(path, KIT)
    last, first = (estimate(path, KIT, options=CompilerOptions(Ends(output_channels=p))) for p in ("chlast", "chfirst"))
    assert filed.placement.epochs == last.placement.epochs
    assert filed.lowered.tensors[filed.lowered.outputs[0]].shape[-1] == 13
    assert first.lowered.tensors[first.lowered.outputs[0]].shape[1] == 13


def test_buffers_of_the_application_are_no_activations(tmp_path: Path) -> None:
    """Each end apart: 64 x 64 x 3 bytes in, 64 x 64 x 8 out."""

    def buffers(inputs: bool, outputs: bool) -> set[str]:
        found = _found(tmp_path, allocate_inputs=inputs, allocate_outputs=outputs)
        return {buffer.name for buffer in found.costs.memory.buffers}

    everything = buffers(True, True)
    ends = ((True, True), (False, True), (True, False), (False, False))
    missing = [len(everything - buffers(*one)) for one in ends]
    assert missing == [0, 1, 1, 2]


def test_controller_clocks_and_flash(tmp_path: Path) -> None:
    stock = _found(tmp_path)
    without = _found(tmp_path, epoch_controller=False)
    assert (stock.target.epoch_controller, without.target.epoch_controller) == (True, False)
    conv = next(cost for cost in without.costs.epochs if cost.bound == "compute")
    assert conv.overhead == pytest.approx((8500 + 16 * 100) / 800), "[#overheads]: once for every epoch"
    slow = _found(tmp_path, clocks="600/800")
    assert slow.costs.latency.milliseconds == pytest.approx(stock.costs.latency.milliseconds * 800 / 600, rel=0.07)
    assert _found(tmp_path, flash_mb_s=100).target.flash_mb_s == 100
    for wrong in ({"clocks": "fast"}, {"clocks": "0/800"}, {"flash_mb_s": -1.0}):
        with pytest.raises(RecipeError):
            _found(tmp_path, **wrong)


def test_what_was_given_is_said(tmp_path: Path) -> None:
    found = _found(tmp_path, ends=Ends("uint8"), allocate_outputs=False)
    assert found.facts()["options"] == ["--input-data-type uint8", "--no-outputs-allocation"]
    assert _found(tmp_path).facts()["options"] == []


R27 = "reports/r27_face_landmark_ptq"


def test_a_report_says_how_it_was_compiled(neuralart_dir: Path) -> None:
    found = options_of(read_report(neuralart_dir / R27 / "v2.2.0b_generate_report.txt"))
    assert found.ends == Ends("uint8", "int8", "chlast")
    assert (found.allocate_inputs, found.allocate_outputs, found.epoch_controller) == (True, True, True)
    older = options_of(read_report(neuralart_dir / R27 / "v2.1.0_generate_report.txt"))
    assert (older.allocate_inputs, older.allocate_outputs, older.ends) == (False, False, Ends())
    plain = options_of(read_report(neuralart_dir / "reports/r33_mobilenetv1_a025_224/v2.2.0_generate_report.txt"))
    assert plain == CompilerOptions(epoch_controller=False)


@pytest.mark.parametrize("form", ["{} {}", "{}={}"])
def test_every_end_is_read_from_a_command_line(form: str) -> None:
    given = {"--input-data-type": "uint8", "--output-data-type": "float32",
             "--inputs-ch-position": "chfirst", "--outputs-ch-position": "chlast"}  # fmt: skip
    words = " ".join(form.format(*pair) for pair in given.items()).split()
    found = options_of(StReport(sources=("x",), parameters=("generate", *words, "--no-outputs-allocation")))
    assert found.ends == Ends("uint8", "float32", "chfirst", "chlast")
    assert (found.allocate_inputs, found.allocate_outputs) == (True, False)


def test_a_log_says_its_clocks_and_what_is_given_wins(neuralart_dir: Path) -> None:
    report = read_report(neuralart_dir / "reports/r11_yolov8n_micro_224_int8/v4.0.1_aistudio.txt.gz")
    assert options_of(report).clocks == "600/800"
    given = CompilerOptions(Ends(output_type="float32"), epoch_controller=False, clocks="800/1000")
    found = options_of(report, given)
    assert (found.ends.output_type, found.epoch_controller, found.clocks) == ("float32", False, "800/1000")
    assert options_of(report, STOCK) == options_of(report)


def test_compare_takes_the_ends_from_the_report(neuralart_dir: Path) -> None:
    """r27 on 2.2: uint8 in, int8 out, channels last. As the file has it, its conversions would be in the way."""
    folder = neuralart_dir / R27
    report = read_report(folder / "v2.2.0b_generate_report.txt")
    found = compare_report(folder / "face_landmark_ptq.tflite", report)
    kinds = {line.name: (line.predicted, line.truth) for line in found.sw}
    assert "QuantizeLinear" not in kinds and "DequantizeLinear" not in kinds
    as_filed = estimate(folder / "face_landmark_ptq.tflite", "stm32n6570-dk@2.2").placement.sw_ops
    assert {"QuantizeLinear", "DequantizeLinear"} & set(as_filed)


def test_on_the_command_line(tmp_path: Path) -> None:
    words = ["estimate", str(_net(tmp_path)), "--json", "--input-data-type", "float32", "--clocks", "600/800",
             "--no-epoch-controller", "--no-inputs-allocation", "--outputs-ch-position", "chlast",
             "--target", "nucleo-n657x0-q@4.0"]  # fmt: skip
    result = CliRunner().invoke(app, words)
    facts = json.loads(result.stdout)
    assert facts["placement"]["sw_ops"]["QuantizeLinear"] == 1
    assert facts["options"] == [
        "--input-data-type float32", "--outputs-ch-position chlast", "--no-inputs-allocation"
    ]  # fmt: skip
    text = " ".join(facts["latency"]["assumptions"])
    assert "CPU 600 MHz, NPU 800 MHz" in text and "without the epoch controller" in text


def test_every_option_is_a_key_of_recipes(tmp_path: Path) -> None:
    """There and back: what a command was given, a recipe says too."""
    given = CompilerOptions(
        Ends("float32", "uint8", "chfirst", "chfirst"), False, False, False, "x.mpool", "600/800", 100.0
    )  # fmt: skip
    content: dict[str, object] = {"model": "x"}
    for (section, key), value in given.settings().items():
        content.setdefault(section, {})[key] = value  # type: ignore[index]
    assert of_recipe(Recipe.model_validate(content)) == given
    assert STOCK.settings() == {}


def test_a_file_has_one_size_and_no_largest() -> None:
    result = CliRunner().invoke(app, ["estimate", "model.tflite", "--largest"])
    assert isinstance(result.exception, RecipeError) and "a file has only one" in str(result.exception)


def test_the_largest_input_is_searched_with_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    from n6convert.fitting import largest
    from n6convert.recipe.checking import finish

    pytest.importorskip("n6convert_yolov8")
    seen = []

    def searched(draft, progress):  # type: ignore[no-untyped-def]
        seen.append(of_recipe(finish(draft())))
        return None, []

    monkeypatch.setattr(largest, "largest_input", searched)
    words = ["estimate", "yolov8n", "--largest", "--clocks", "600/800", "--no-epoch-controller"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert (seen[0].clocks, seen[0].epoch_controller) == ("600/800", False)


def test_a_recipe_names_them(tmp_path: Path) -> None:
    recipe = Recipe(
        model="x", package=PackageConfig(input_type="float32", output_type="float32"),
        compiler=CompilerConfig(epoch_controller=False, clocks="600/800", allocate_outputs=False),
    )  # fmt: skip
    found = of_recipe(recipe)
    assert found == CompilerOptions(
        Ends("float32", "float32", "chlast", "chlast"), True, False, False, clocks="600/800"
    )
    kept = of_recipe(Recipe(model="x", compiler=CompilerConfig(input_channels="chfirst", output_channels="chfirst")))
    assert kept.ends == Ends("uint8", None, "chfirst", "chfirst")
    stock = of_recipe(Recipe(model="x"))
    assert stock == CompilerOptions(Ends("uint8", None, "chlast", "chlast")), "as the package's command has it"
    plain = of_recipe(Recipe(model="x", package=PackageConfig(input_type="int8")))
    assert plain.ends == Ends(None, None, "chlast", "chlast"), "the INT8 model has int8 ends as it stands"
