"""Recipes and settings: valid ones with odd values, keys and structure, and texts that are hardly YAML."""

from __future__ import annotations

from pathlib import Path
from random import Random

from .small import convert_command, write_small

__all__ = ["write"]

_KEYS = [
    "model", "weights", "options", "options.imgsz", "seed", "target", "calibration", "calibration.source",
    "calibration.samples", "calibration.held_back", "calibration.max_unreadable", "evaluation.source",
    "evaluation.pictures", "simplify.time_limit", "simplify.tolerance", "rewrite.rules", "rewrite.tolerance",
    "quantization.ranges", "quantization.percentile", "quantization.ranges_file", "quantization.threads",
    "quantization.time_budget", "acceptance.max_drop", "acceptance.min_sqnr_db", "package.profiles", "output",
    "extends",
    "sweep",
    "nothing", "options.shapes", "options.outputs", "options.mean", "options.range",
]  # fmt: skip
_VALUES = [
    "", "~", "true", "0", "-1", "1", "3.5", ".inf", "-.inf", ".nan", "1.0e+999", "9" * 30, "9" * 5000, "0x" + "f" * 99,
    "2024-01-01", "2024-99-99", "[]", "{}", "[1, 2]", "[[1]]", "{a: 1}", "{1: a}", "{[a]: b}", "!!set {a}",
    "!!binary x",
    "!!python/none x", "&a [*a]", "*nowhere", "'a\\0b'", "\"a\\0b\"", "../up", "/etc/passwd", "a" * 5000, "~nobody/x",
    "\"\\e[2J\"", "'<script>'", "a: b", "- a", "[" * 200, "yolov8n", "seeded", "stm32n6570-dk@4.0", "[a, a]",
    "1:30", "x" * 99,
]  # fmt: skip
_ATOMS = [
    ": ", "- ", "\n", "  ", "[", "]", "{", "}", "&a ", "*a", "<<: ", "!!set ", "? ", "|", ">", "'", '"', "#", "\t", ",",
    "%", "@", "---\n", "...\n", "\u2028", "\x00", "model", "seed", "extends",
]  # fmt: skip


def write(rng: Random, folder: Path) -> list[list[str]]:
    """A recipe of keys and values, sometimes a bomb of aliases; and one setting on the command line."""
    write_small(folder)
    text = rng.choice([_document, _document, _bomb, _noise])(rng)
    (folder / "r.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    setting = f"{rng.choice(_KEYS)}={rng.choice(_VALUES)}"
    target = f"{rng.choice(['r.yaml', 'stm32n6570-dk', ''])}@{rng.choice(_VALUES)}"
    return [
        ["recipe", "r.yaml"],
        ["recipe", "yolov8n", "--set", setting],
        convert_command("out", "--set", setting),
        ["estimate", "m.onnx", "--target", target, "--json"],
    ]


def _document(rng: Random) -> str:
    lines = [f"model: {rng.choice(['onnx', 'yolov8n', 'x'])}"]
    for key in rng.sample(_KEYS, rng.randint(1, 4)):
        section, dot, name = key.partition(".")
        value = rng.choice(_VALUES)
        lines.append(f"{section}: {{{name}: {value}}}" if dot else f"{section}: {value}")
    return "\n".join(lines)


def _bomb(rng: Random) -> str:
    names = "abcdefghijklmnopqrst"[: rng.randint(2, 20)]
    inner = rng.choice(["{{{}}}", "[{}]"])
    lines = [f"a: &a {rng.choice(['[x]', '{x: 1}'])}"]
    for below, name in zip(names, names[1:], strict=False):
        copies = ", ".join(f"k{i}: *{below}" if "{{" in inner else f"*{below}" for i in range(rng.randint(1, 9)))
        lines.append(f"{name}: &{name} {inner.format(copies)}")
    return "\n".join(lines)


def _noise(rng: Random) -> str:
    return "".join(rng.choices([*_ATOMS, *_KEYS, *_VALUES[:20]], k=rng.randint(1, 30)))
