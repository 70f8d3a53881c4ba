"""Shared fixtures: where the local test material lies, and a skip that says so when it is absent."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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


class LocalHub(ThreadingHTTPServer):
    """A server of this machine that speaks the Hugging Face hub's protocol.

    Attributes:
        commit: what the main branch is at.
        files: content by ``repository@commit/name``.
        large: names that are stored as LFS files: their bytes come from another address, by a redirect.
        lies: what is answered otherwise than it is: ``etag`` and ``size`` that are declared, ``body`` that is sent,
            ``location`` of large files, ``inside`` where small ones are redirected within the hub, ``served`` commit,
            ``cut`` after so many bytes; by key.
        asked: method, path and range of every request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _HubAnswer)
        self.commit = "c0ffee" + "0" * 34
        self.files: dict[str, bytes] = {}
        self.large: set[str] = set()
        self.lies: dict[str, object] = {}
        self.asked: list[tuple[str, str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def publish(self, repository: str, files: Mapping[str, bytes], commit: str | None = None) -> None:
        """Serve files; those that end in .bin or .safetensors as LFS files."""
        self.files |= {f"{repository}@{commit or self.commit}/{name}": content for name, content in files.items()}
        self.large |= {name for name in files if name.endswith((".bin", ".safetensors"))}


class _HubAnswer(BaseHTTPRequestHandler):
    server: LocalHub

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        hub = self.server
        hub.asked.append((self.command, self.path, self.headers.get("Range")))
        owner, name, kind, commit, file = self.path.strip("/").split("/", 4)
        commit = hub.commit if commit == "main" else commit
        content = hub.files.get(f"{owner}/{name}@{commit}/{file}")
        if content is None:
            self._send(404, {}, b"" if body else None)
        elif kind == "resolve" and file not in hub.large and "inside" in hub.lies:
            self._send(307, {"Location": f"/{owner}/{name}/cache/{commit}/{file}"}, b"" if body else None)
        elif kind == "storage":
            self._send_content(bytes(hub.lies.get("body", content)), body)  # type: ignore[call-overload]
        elif kind == "raw":
            pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n"
            self._send(200, {}, pointer % (hashlib.sha256(content).hexdigest().encode(), len(content)))
        else:
            large = file in hub.large
            blob = b"blob %d\0" % len(content) + content
            digest = (hashlib.sha256(content) if large else hashlib.sha1(blob)).hexdigest()
            headers = {"X-Repo-Commit": str(hub.lies.get("served", commit))}
            headers["X-Linked-Etag"] = str(hub.lies.get("etag", f'"{digest}"'))
            headers["X-Linked-Size"] = str(hub.lies.get("size", len(content)))
            headers = {key: value for key, value in headers.items() if value}
            away = str(hub.lies.get("location", f"/{owner}/{name}/storage/{commit}/{file}"))
            if large:
                self._send(302, headers | {"Location": away, "ETag": '"of-the-redirect"'}, b"Found" if body else None)
            else:
                self._send_content(content, body, headers)

    def _send_content(self, content: bytes, body: bool, headers: Mapping[str, str] | None = None) -> None:
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        part = content[start:]
        cut = self.server.lies.get("cut")
        sent = part if cut is None else part[: int(str(cut))]
        self._send(206 if wanted else 200, dict(headers or {}), sent if body else None, len(sent))

    def _send(self, status: int, headers: dict[str, str], body: bytes | None, length: int | None = None) -> None:
        self.send_response(status)
        size = length if length is not None else len(body or b"")
        for key, value in (headers | {"Content-Length": str(size)}).items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(body)


@pytest.fixture
def local_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A hub of this machine, and n6convert pointed to it."""
    with LocalHub() as hub:
        threading.Thread(target=hub.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.delenv("N6CONVERT_OFFLINE", raising=False)
        yield hub
        hub.shutdown()
