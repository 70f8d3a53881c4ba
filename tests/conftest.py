"""Shared fixtures: where the local test material lies, and a skip that says so when it is absent."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

import pytest
from hypothesis import settings

#: the same examples everywhere, and no limit of time: machines differ
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")

ROOT = Path(__file__).resolve().parent.parent
MATERIAL = {
    "data_dir": ("N6_DATA", ROOT.parent / "shared" / "data"),
    "neuralart_dir": ("N6_NEURALART", ROOT.parent / "shared" / "neuralart"),
}


def _folder(fixture: str) -> Path:
    variable, default = MATERIAL[fixture]
    return Path(os.environ.get(variable, default))


def _material(fixture: str) -> Path:
    folder = _folder(fixture)
    if not folder.is_dir():
        pytest.skip(f"local test material not found at {folder}; set {MATERIAL[fixture][0]}")
    return folder


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real weights, images and text (``N6_DATA``)."""
    return _material("data_dir")


@pytest.fixture(scope="session")
def neuralart_dir() -> Path:
    """Real compiler reports with their models (``N6_NEURALART``)."""
    return _material("neuralart_dir")


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> None:
    """A runner in the background hands on an ignored SIGINT, which child processes would ignore in turn."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep tests away from the user's cache; child processes inherit it."""
    os.environ["N6CONVERT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


def write_distribution(
    site: Path, name: str, entries: Mapping[str, str], files: Mapping[str, str], **more: str
) -> None:
    """What pip would leave in a site folder: modules and metadata.

    Args:
        entries: ``n6convert.models`` entry points.
        files: content by relative path.
        more: ``version`` and ``requires``.
    """
    for path, text in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text, encoding="utf-8")
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    requires = f"Requires-Dist: {more['requires']}\n" if "requires" in more else ""
    version = more.get("version", "1.0")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}")
    lines = "".join(f"{key} = {value}\n" for key, value in entries.items())
    (info / "entry_points.txt").write_text(f"[n6convert.models]\n{lines}")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty site folder that this process and its children import from."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    return folder


@pytest.fixture
def distribution(site: Path) -> Callable[..., None]:
    """Installs a made-up distribution: ``distribution(name, entries, files, version=..., requires=...)``."""
    return lambda name, entries, files, **more: write_distribution(site, name, entries, files, **more)


@pytest.fixture
def toy(site: Path, distribution: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The toy plugin installed as ``toy``, a cache of its own, and an empty working folder, which is returned."""
    distribution("n6-toy", {"toy": "n6_toy:Toy", "seer": "n6_toy:Seer"}, {})
    shutil.copy(ROOT / "tests" / "toy.py", site / "n6_toy.py")
    sys.modules.pop("n6_toy", None)
    monkeypatch.setenv("N6CONVERT_CACHE", str(tmp_path / "cache"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def compile_c() -> Callable[[Path, Mapping[str, str]], ctypes.CDLL]:
    """Compiles generated C as strictly as firmware is compiled: ``compile_c(folder, {name: text}) -> library``."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler on this machine")

    def build(folder: Path, sources: Mapping[str, str]) -> ctypes.CDLL:
        for name, text in sources.items():
            (folder / name).write_text(text)
        files = [str(folder / name) for name in sorted(sources) if name.endswith(".c")]
        flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC", f"-I{folder}"]
        library = folder / "generated.so"
        done = subprocess.run(
            [compiler, *flags, *files, "-lm", "-o", str(library)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return ctypes.CDLL(str(library))

    return build


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport]:
    """With ``N6_NO_SKIPS``, a test that needs material which is there may not be skipped."""
    report = yield
    needed = [f for f in MATERIAL if f in getattr(item, "fixturenames", ()) and _folder(f).is_dir()]
    if report.skipped and needed and os.environ.get("N6_NO_SKIPS") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, though its material is there: {report.longrepr}"
    return report
