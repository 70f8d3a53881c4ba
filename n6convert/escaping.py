"""Text from outside (tensor names, file names, labels) made safe for every language that n6convert writes.

One function a language, used by every generator of the core and of plugins. JSON needs none: ``json.dumps`` escapes.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from html import escape as html_text

from n6convert.errors import OutputError

__all__ = [
    "batch_word",
    "c_comment",
    "c_identifier",
    "c_string",
    "file_name",
    "html_text",
    "line_comment",
    "markdown_code",
    "markdown_text",
    "plain_text",
    "shell_word",
]

#: control, format (text direction, invisible), surrogate and private characters; line and paragraph separators
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_COMMENT_LENGTH = 400
_NAME_BYTES = 120
_KEYWORDS = frozenset(
    # C, and what C++ adds
    re.split(
        r"\s+",
        "auto break case char const continue default do double else enum extern float for goto if inline int long "
        "register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while "
        "alignas alignof and asm bool catch class delete explicit export false friend mutable namespace new not "
        "operator or private protected public template this throw true try typename using virtual xor",
    )
)
_WINDOWS_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", *(f"{kind}{digit}" for kind in ("com", "lpt") for digit in range(1, 10))]
)


def plain_text(text: str, keep: str = "") -> str:
    r"""Text in which every character can be seen: controls, line breaks and invisible ones become ``\x1b``, ``\u202e``.

    Args:
        text: any text.
        keep: characters that stay as they are, such as line breaks.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or unicodedata.category(c) not in _HIDDEN else _visible(c) for c in text)


def c_string(text: str) -> str:
    """A C string literal with its quotes, in ASCII; it holds the text in UTF-8."""
    data = text.encode("utf-8", "surrogatepass")
    return '"' + "".join(_c_character(byte) for byte in data) + '"'


def c_comment(text: str) -> str:
    """What may stand between ``/* `` and `` */``: one line that neither ends nor opens a comment."""
    return _shortened(plain_text(text)).replace("*/", "* /").replace("/*", "/ *")


def c_identifier(name: str) -> str:
    """A valid C identifier that still reads like the name."""
    text = re.sub(r"[^0-9A-Za-z_]+", "_", name).strip("_").lower()
    return text if text and not text[0].isdigit() and text not in _KEYWORDS else f"t_{text}"


def line_comment(text: str) -> str:
    """What may stand behind ``#`` in a shell script, or ``rem`` in a batch file: one line without operators."""
    return re.sub(r"[%&|<>^!\\]", "_", _shortened(plain_text(text)))


def shell_word(text: str) -> str:
    """One word of a POSIX shell's command line."""
    return shlex.quote(text)


def batch_word(text: str) -> str:
    """One word of a command line in a Windows batch file, in quotes wherever ``cmd`` would read more than a word.

    Raises:
        OutputError: a quote or line break, which no form of quoting keeps; no file name on Windows has one.
    """
    if not re.fullmatch(r'[^"\x00-\x1f\x7f]*', text):
        raise OutputError(
            "a name cannot stand in a Windows batch file", place=plain_text(text), limit="no quote, no line break"
        )
    plain = re.fullmatch(r"[\w./@+:\\-]+", text, re.ASCII)
    if plain:
        return text
    ending = len(text) - len(text.rstrip("\\"))  # before a quote, programs read two backslashes as one
    return '"' + text.replace("%", "%%") + "\\" * ending + '"'


def markdown_text(text: str) -> str:
    """Text of one line, also in a table's cell: markdown and HTML in it stay letters."""
    return re.sub(r"[\\`*_{}\[\]<>#|~&!]", lambda m: f"&#{ord(m[0])};", plain_text(text))


def markdown_code(text: str) -> str:
    """Text as code, also in a table's cell."""
    text = plain_text(text)
    if text and not re.search(r"[`|\\<>&]", text):
        return f"`{text}`"
    return "<code>" + re.sub(r"[^\w ./:-]", lambda m: f"&#{ord(m[0])};", text, flags=re.ASCII) + "</code>"


def file_name(text: str) -> str:
    """A name that every file system takes, that no command reads as an option, and that leaves room for endings."""
    name = re.sub(r'[<>:"/\\|?*]', "_", "".join("_" if unicodedata.category(c) in _HIDDEN else c for c in text))
    while len(name.encode()) > _NAME_BYTES:
        name = name[:-1]
    name = name.rstrip(". ") or "model"
    return f"_{name}" if name[0] in "-~ " or name.partition(".")[0].lower() in _WINDOWS_DEVICES else name


def _visible(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def _c_character(byte: int) -> str:
    """Octal, since hexadecimal escapes have no end; ``?`` could be part of a trigraph."""
    return chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"


def _shortened(text: str) -> str:
    return text if len(text) <= _COMMENT_LENGTH else text[: _COMMENT_LENGTH - 1] + "…"
