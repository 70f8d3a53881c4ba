"""What reaches the terminal: visible characters, whatever names models, files and errors hold."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from rich.table import Table

import n6convert.cli
from n6convert.cli import run
from n6convert.cli.terminal import say, shown, terminal

EVIL = "a\x1b]0;title\x07\x1b[2J\x9b31m\r\u202e[/bold][red]\x00b"


def hostile_model(folder: Path) -> Path:
    name = EVIL.replace("\0", "")
    weights = numpy_helper.from_array(np.ones((8, 3, 3, 3), np.float32), f"w{name}")
    nodes = [
        helper.make_node("Conv", [name, f"w{name}"], [f"c{name}"], name=f"n{name}"),
        helper.make_node("Softmax", [f"c{name}"], [f"y{name}"], name=f"s{name}", axis=1),
    ]
    image = helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 16, 16])
    out = helper.make_tensor_value_info(f"y{name}", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [image], [out], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "m\x1b[2J.onnx"
    path.write_bytes(model.SerializeToString())
    np.savez(folder / "cal.npz", **{name: np.random.default_rng(1).random((6, 3, 16, 16)).astype(np.float32)})
    return path


def visible(text: str) -> bool:
    return not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)


def test_names_of_a_model_are_shown_as_text(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = str(hostile_model(tmp_path))
    samples = ["--calibration", "cal.npz", "--set", "options.samples=arrays", "--set", "options.range=0..1"]
    for words in (
        ["lint", path], ["estimate", path], ["rewrite", path, "-o", "r.onnx"],
        ["quantize", path, *samples, "-o", "q.onnx"], ["debug", path, *samples],
        [path, *samples, "--samples", "4", "--set", "simplify.onnxsim=false", "--output", "o\x1b"],
        ["diff", "o\x1b", "o\x1b"], ["report", "o\x1b"], ["fit", "o\x1b", "o\x1b", "--output", "f\x1b.html"],
    ):  # fmt: skip
        code = run(words)
        out, err = capfd.readouterr()
        assert visible(out) and visible(err) and "bug" not in err, (words, out, err)
        assert code in (0, 1, 3), (words, err)
    assert json.loads((tmp_path / "o\x1b/report.json").read_text())["sqnr_db"]


def test_a_console_keeps_its_colors_and_shows_controls_of_others(capsys: pytest.CaptureFixture[str]) -> None:
    console = terminal(force_terminal=True, color_system="standard", width=200, highlight=False)
    table = Table("name")
    table.add_row(shown(EVIL))
    console.print(table)
    console.print(f"[red]{shown(EVIL)}[/red] [bold]x")
    console.print(EVIL, markup=False)
    text = capsys.readouterr().out
    assert "\x1b[31m" in text and "\x1b]0" not in text and "\x1b[2J" not in text and "\x9b" not in text
    assert text.count("\\x1b]0;title") == 3 and "[/bold]" in text


def test_lines_are_printed_in_any_encoding(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    say(EVIL)
    say(EVIL, error=True)
    out, err = capsys.readouterr()
    assert out == err and visible(out) and "\\x1b[2J" in out
    read, write = os.pipe()
    with os.fdopen(write, "w", encoding="ascii") as stream:
        monkeypatch.setattr("sys.stdout", stream)
        say("µ → \ud800")
    monkeypatch.undo()
    assert os.read(read, 100) == b"\\xb5 \\u2192 \\ud800\n"


@pytest.mark.parametrize("words", [[EVIL.replace("\0", "") + ".onnx"], ["--" + EVIL.replace("\0", "")], ["lint", EVIL]])
def test_errors_show_what_they_name(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) in (1, 2)
    out, err = capsys.readouterr()
    assert visible(out) and visible(err) and "error" in err and "bug" not in err


def test_commands_print_through_one_module() -> None:
    folder = Path(n6convert.cli.__file__).parent
    ours = r"json\.dumps|ctx\.get_help|operator_table|to_yaml|f\"n6convert \{|\"interrupted|f\"\{rule\.name"
    harmless = rf"(?<![\w.])(?:typer\.echo|print)\(\s*(?:{ours})"
    for path in sorted(folder.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if path.name == "terminal.py":
            continue
        assert not re.search(r"(?<!\.)\bConsole\(", text), path
        calls = re.findall(r"(?<![\w.])(?:typer\.echo|print)\(", text)
        assert len(calls) == len(re.findall(harmless, text)), path
