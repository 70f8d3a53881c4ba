"""Names from outside in generated text, read back by a compiler, a shell, cmd's rules, HTML and markdown parsers."""

from __future__ import annotations

import ast
import ctypes
import random
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt

from n6convert.errors import OutputError
from n6convert.escaping import (
    batch_word,
    c_comment,
    c_identifier,
    c_string,
    file_name,
    line_comment,
    markdown_code,
    markdown_text,
    plain_text,
    shell_word,
)
from n6convert.package.card import card_text
from n6convert.package.commands import batch_text, shell_text
from n6convert.package.csource import interface_header, interface_source
from n6convert.package.ports import Port
from n6convert.package.selftest import selftest_header
from n6convert.report.schema import PartialReport

ATOMS = [
    "*/", "/*", "//", "\\", '"', "'", "\n", "\r", "\t", "\0", "\x1b[31m", "\x07", "\x9b", "??/", "??'", "%", "%PATH%",
    "%%", "&", "&calc&", "|", "^", "!", "<", ">", "<script>alert(1)</script>", "$(id)", "`id`", ";", "#", "-->", "]]>",
    "{{", "}}", "\u202e", "\u2028", "\ufeff", "ö", "😀", "\ud83d", "int", "a", "b/c:0", " ", "-x", "..", "|x|",
    "[a](b)", "**", "~", "8",
]  # fmt: skip


def names(count: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [*ATOMS, *("".join(draw.choices(ATOMS, k=draw.randint(1, 6))) for _ in range(count))]


def test_generated_c_compiles_holds_nothing_foreign_and_keeps_the_names(tmp_path, compile_c):
    found = names(200)
    ports = [Port(name, (1, 2), 0.5, 0, False) for name in found]
    header = interface_header("n6_m", ports, ports, None)
    test = selftest_header("n6_m", ports, ports, "photos*/x */ extern int pwned; /*", [])
    source = interface_source("n6_m", ports, ports) + '#include "n6_m_selftest.h"\n'
    library = compile_c(tmp_path, {"n6_m.h": header, "n6_m_selftest.h": test, "n6_m.c": source})

    class Tensor(ctypes.Structure):
        _fields_ = [("name", ctypes.c_char_p), ("rest", ctypes.c_uint32 * 10)]

    table = (Tensor * len(found)).in_dll(library, "n6_m_inputs")
    for row, name in zip(table, found, strict=True):
        assert row.name == name.encode("utf-8", "surrogatepass").partition(b"\0")[0]
    code = re.sub(r"/\*.*?\*/", "", header + test, flags=re.DOTALL)
    words = set(re.findall(r"[A-Za-z_]\w*", re.sub(r"(?m)^#.*$", "", code)))
    assert {w for w in words if not w.startswith("n6_")} <= {
        "extern", "const", "int8_t", "uint32_t", "int32_t", "typedef", "struct", "char", "C", "name", "size", "rank",
        "shape", "float", "scale", "zero_point", "int", "found", "output",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["a*/b", "a/*b", "/*/", "**//", "*", "x\\", "a\nb"])
def test_a_comment_stays_one_comment(name):
    inside = c_comment(name)
    assert "*/" not in inside and "/*" not in inside and "\n" not in inside


def test_c_identifiers_compile(tmp_path, compile_c):
    found = sorted({c_identifier(name) for name in [*names(200), "switch", "class", "Int", ""]})
    compile_c(tmp_path, {"x.c": "".join(f"int {name};\n" for name in found)})


def test_a_shell_reads_each_word_back(tmp_path):
    found = [n for n in names(150) if "\0" not in n and "\ud83d" not in n]
    text = shell_text(["printf", "%s\\0", *found], "stm32n6570-dk@4.0").replace("exec ", "")
    script = tmp_path / "generate.sh"
    script.write_bytes(text.encode())
    done = subprocess.run(["sh", script], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == found


def cmd_words(line: str) -> list[str]:
    """The words that cmd hands to a program: its rules for ``%``, quotes and operators; refuses any operator."""
    words, word, quoted, i = [], "", False, 0
    while i < len(line):
        c = line[i]
        if c == "%":
            assert line[i : i + 2] in ("%%", "%*"), f"a variable is expanded: {line}"
            i += 1
        if c == "\\":
            run = len(line[i:]) - len(line[i:].lstrip("\\"))
            before_quote = line[i + run : i + run + 1] == '"'
            assert not (before_quote and run % 2), "a quote that a program reads as a letter"
            word, i = word + "\\" * (run // 2 if before_quote else run), i + run
            continue
        if c == '"':
            quoted = not quoted
        elif c == " " and not quoted:
            words, word = [*words, word], ""
        else:
            assert quoted or c not in "&|<>^()@;,=!'`", f"{c} is read by cmd: {line}"
            word += c
        i += 1
    assert not quoted
    return [*words, word]


def test_cmd_reads_each_word_back():
    kept = 0
    for name in names(300):
        try:
            batch_word(name)
        except OutputError:
            assert re.search(r'["\x00-\x1f\x7f]', name)
            continue
        line = batch_text(["stedgeai", "--model", name], "stm32n6570-dk@4.0").split("\r\n")[-2]
        assert cmd_words(line) == ["stedgeai", "--model", name, "%"], name
        kept += 1
    assert kept > 100
    assert not re.search(r"[\r\n&%]", line_comment("a\r\ncalc & rem %x%"))


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def in_table(cell: str) -> Tags:
    return Tags(MarkdownIt("commonmark").enable("table").render(f"| x | y |\n|---|---|\n| {cell} | 2 |\n"))


def test_markdown_shows_the_letters():
    for name in names(300):
        seen = in_table(markdown_text(name))
        assert (seen.tags.count("td"), seen.tags.count("tr")) == (2, 2), name
        assert not set(seen.tags) - {"table", "thead", "tbody", "tr", "th", "td"}, name
        assert plain_text(name).strip(" ") in seen.text
        seen = in_table(markdown_code(name))
        assert (seen.tags.count("td"), seen.tags.count("code")) == (2, 1), name
        assert not set(seen.tags) - {"table", "thead", "tbody", "tr", "th", "td", "code"}, name


def test_the_model_card_of_a_hostile_model():
    port = Port("<img src=x onerror=alert(1)>|", (1, 2), 0.5, 0, False)
    report = {
        "n6convert": "0", "name": "x", "model": "<script>", "target": "t",
        "recipe": {"evaluation": {"source": "x/<b>.json"}},
        "calibration": {"source": "[a](javascript:b)"}, "weights": {"trained": True, "origin": "<iframe>"},
        "accuracy": {"metric": "<u>", "samples": 1, "float": 1, "int8": 1, "drop": 0},
    }  # fmt: skip
    card = card_text(PartialReport.model_validate(report), [port], [port], {"a`<s>": "b"})
    page = MarkdownIt("commonmark").enable("table").render(card)
    assert not {"script", "iframe", "img", "u", "b", "s", "a"} & set(Tags(page).tags)


def test_file_names_are_safe_everywhere():
    reserved = {"con", "nul", "prn", "aux", "com1", "lpt9"}
    for name in [*names(300), "", ".", "..", "con", "NUL.x", "a" * 400, "ö" * 200, "--output", "x. ."]:
        safe = file_name(name)
        assert safe and len(safe.encode()) <= 121 and Path(safe).name == safe
        assert not re.search(r'[<>:"/\\|?*\x00-\x1f\x7f]', safe) and safe[0] not in "-~ " and safe[-1] not in ". "
        assert safe.partition(".")[0].lower() not in reserved
        assert file_name(safe) == safe
    assert file_name("yolov8n.v2 (copy)") == "yolov8n.v2 (copy)"


def test_nothing_hidden_is_left_in_plain_text():
    for name in names(300):
        assert plain_text(name).isprintable()
    assert plain_text("a\x1b[2Jb\u202ec", keep="\n") == "a\\x1b[2Jb\\u202ec"
    assert plain_text("größe 😀\n", keep="\n") == "größe 😀\n"
    assert "\n" not in line_comment("a\nb")
    assert "'" in shell_word("a b") and ast.literal_eval(c_string("a").replace("?", "")) == "a"


def test_class_names_of_a_checkpoint(tmp_path, compile_c):
    firmware = pytest.importorskip("n6convert_yolov8.firmware")
    outputs = [Port(f"{kind}_{s}", (1, 4, 8, 8), 0.1, 0, True) for kind in ("boxes", "scores") for s in (8, 16, 32)]
    labels = ['quote"; int pwned; "', "back\\", "line\nbreak */", "ö"]
    made = firmware.cut_head(
        "n6_m", outputs, (64, 64), classes=labels, keypoints=None, reg_max=16, confidence=0.25, iou=0.7
    )
    table = next(line for line in made.defines if "CLASS_NAMES" in line)
    assert "\n" not in table
    code = f"{table}\nconst char *const names[4] = N6_M_CLASS_NAMES;\n"
    library = compile_c(tmp_path, {"x.c": code})
    assert [n.decode() for n in (ctypes.c_char_p * 4).in_dll(library, "names")] == labels
    assert np.size(labels) == 4
