"""What is installed, which models would run, what is missing, and the command that mends it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version

from n6convert.errors import N6ConvertError, ToolError
from n6convert.recipe.project import project_file, read_project
from n6convert.registry import OFFICIAL, ModelEntry, list_models, unmet_requirements
from n6convert.store.cache import default_root

__all__ = ["Check", "examine", "probe"]

_PROBE_SECONDS = 120
_FREE_BYTES = 2 << 30


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes:
        what: a model, a package, a tool, a folder.
        fine: whether it is as it should be.
        found: version, place, or what is wrong.
        remedy: command that mends it; empty when fine.
        needed: False for what a conversion can do without.
    """

    what: str
    fine: bool
    found: str = ""
    remedy: str = ""
    needed: bool = True


def examine() -> list[Check]:
    """Everything worth knowing about this installation; loads every plugin, each in a process of its own."""
    return [*_core(), _project(), *_models(), *_families(), *_extras(), _stedgeai(), *_folders()]


def probe(name: str) -> str:
    """Load a plugin in a child process, so that a crash or a framework stays out of this one; returns the cause or ''.

    A child process also proves that the plugin loads by itself.
    """
    code = "import sys; from n6convert.registry import load_plugin; load_plugin(sys.argv[1])"
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, name],
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"loading takes more than {_PROBE_SECONDS} s"
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    cause = next((line.removeprefix("found: ") for line in lines if line.startswith("found: ")), "")
    return cause or (lines[-1] if lines else f"the process died with {done.returncode}")


def _core() -> Iterator[Check]:
    yield Check("Python", sys.version_info >= (3, 11), platform.python_version(), "install Python 3.11 or newer")
    core = distribution("n6convert")
    missing = unmet_requirements(core)
    remedy = f"pip install {' '.join(repr(m) for m in missing)}" if missing else ""
    found = f"{core.version}" + (f", missing {', '.join(missing)}" if missing else "")
    yield Check("n6convert", not missing, found, remedy)


def _models() -> Iterator[Check]:
    loaded: dict[str, str] = {}
    for entry in list_models():
        if entry.state == "ready" and entry.target not in loaded:
            loaded[entry.target] = probe(entry.name)
        yield _model(entry, entry.cause or loaded.get(entry.target, ""))


def _model(entry: ModelEntry, cause: str) -> Check:
    owner = f"{entry.distribution} {entry.version}"
    if not cause:
        return Check(f"model {entry.name}", True, owner)
    remedy = {
        "duplicate": f"pip uninstall {entry.distribution}   (or the other one)",
        "broken": f"pip install --upgrade {entry.distribution}",
    }.get(entry.state, f"pip install --force-reinstall {entry.distribution}, or report it to its author")
    return Check(f"model {entry.name}", False, f"{owner}: {cause}", remedy)


def _families() -> Iterator[Check]:
    installed = {entry.distribution for entry in list_models()}
    for family, dist in OFFICIAL.items():
        if dist not in installed:
            yield Check(f"family {family}", False, "not installed", f"pip install {dist}", needed=False)


def _extras() -> Iterator[Check]:
    for extra, package, purpose in (
        ("tf", "tf2onnx", "SavedModel and Keras files"),
        ("coco", "pycocotools", "COCO AP and OKS"),
        ("onnxsim", "onnxsim", "a second simplifier, for graphs of odd exporters"),
    ):
        try:
            yield Check(f"extra [{extra}]", True, f"{package} {version(package)}: {purpose}", needed=False)
        except PackageNotFoundError:
            yield Check(f"extra [{extra}]", False, purpose, f"pip install 'n6convert[{extra}]'", needed=False)


def _project() -> Check:
    """Where defaults come from; a damaged file is said here, too."""
    try:
        path = project_file()
        read_project("")
    except N6ConvertError as error:
        return Check("project", False, str(error.problem), f"correct {error.place}")
    return Check("project", True, str(path) if path else "no n6convert.toml here or above", needed=False)


def _stedgeai() -> Check:
    from n6convert.npu.compile import find_stedgeai

    try:
        found = str(find_stedgeai())
    except ToolError:
        found = None
    remedy = "install ST Edge AI Core and set STEDGEAI_CORE_DIR, to compile what n6convert writes"
    return Check("stedgeai", found is not None, found or "not on the PATH", "" if found else remedy, needed=False)


def _folders() -> Iterator[Check]:
    root = default_root()
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    writable = os.access(existing, os.W_OK)
    free = shutil.disk_usage(existing).free
    found = f"{root}, {free / 2**30:.1f} GiB free"
    remedy = "" if writable and free > _FREE_BYTES else "set N6CONVERT_CACHE to a folder with space"
    yield Check("cache folder", writable and free > _FREE_BYTES, found, remedy)
