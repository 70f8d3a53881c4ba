"""``n6convert new-plugin NAME``: a working distribution to start from."""

from __future__ import annotations

import keyword
import re
import shutil
from importlib.resources import files
from pathlib import Path

from n6convert.errors import OutputError, UsageError
from n6convert.registry import list_models

__all__ = ["new_plugin"]

_FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "{module}/__init__.py": "plugin.py",
    "{module}/recipes/{name}.yaml": "recipe.yaml",
    "tests/test_{module}.py": "test_plugin.py",
}


def new_plugin(name: str, parent: Path) -> Path:
    """Write ``<parent>/n6convert-<name>`` with package, entry point, recipe and contract test.

    Returns:
        the new folder.

    Raises:
        UsageError: the name is not usable as a model name, or is taken.
        OutputError: the folder exists already or cannot be written.
    """
    words = _words(name)
    taken = next((entry for entry in list_models() if entry.name == name), None)
    if taken is not None:
        raise UsageError(
            "a model of this name is installed already",
            found=f"{name} of {taken.distribution}",
            remedy="choose another name: of two plugins with one name neither would run",
        )
    folder = parent / f"n6convert-{words['dist']}"
    if folder.exists():
        raise OutputError("the folder exists already", place=folder, remedy="choose another name or remove it")
    aside = folder.with_name(f".{folder.name}.tmp")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        for target, template in _FILES.items():
            path = aside / target.format(**words)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_template(template).format(**words), encoding="utf-8")
        aside.rename(folder)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise OutputError("the plugin cannot be written", place=folder, found=error.strerror or error) from None
    return folder


def _words(name: str) -> dict[str, str]:
    from packaging.version import Version

    from n6convert import __version__

    core = Version(__version__).public

    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,59}", name) or keyword.iskeyword(plain):
        raise UsageError(
            "this is not a usable model name",
            found=name,
            limit="small letters, digits and hyphens, a letter first, 60 at most",
            remedy="for example: n6convert new-plugin my-net",
        )
    camel = "".join(part.capitalize() for part in plain.split("_"))
    return {"name": name, "dist": name, "module": f"n6convert_{plain}", "cls": camel, "core": core}


def _template(name: str) -> str:
    return (files(__package__) / "template" / f"{name}.txt").read_text(encoding="utf-8")
