"""One conversion while it runs: the recipe with everything that is looked up or loaded for it, only when needed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from n6convert.errors import PluginError
from n6convert.escaping import file_name
from n6convert.plugin_errors import plugin_errors
from n6convert.recipe.checking import check
from n6convert.recipe.draft import Draft
from n6convert.recipe.schema import Recipe
from n6convert.registry import fingerprint, load_plugin, sole_entry
from n6convert.store.cache import Cache, key_of, sha256_of
from n6convert.store.inputs import user_path
from n6convert.types import Progress

if TYPE_CHECKING:
    from n6convert.npu.targets import Target
    from n6convert.pipeline.artifact import Artifact
    from n6convert.pipeline.sampling import Sampling
    from n6convert.plugin import Feeds, ModelInfo, ModelPlugin, Sample, Weights
    from n6convert.store.cache import Entry

__all__ = ["COMPUTING_LIBRARIES", "Progress", "Run"]


#: distributions whose version may change a result
COMPUTING_LIBRARIES = ("numpy", "onnx", "onnx-ir", "onnxruntime", "onnxscript", "onnxsim", "pillow")


class Run:
    """The recipe, and what stages need to follow it.

    Args:
        recipe: checked recipe.
        draft: the same before checking, for the places of the plugin's own options.
        cache: where results are kept.
        progress: called as ``progress(what, done, total)``.

    Attributes:
        artifacts: results of the stages so far, by name.
        workspace: an empty folder for the stage at work, removed after its result was published.
        found: of stages whose turn it is what they read, their key and what the cache has under it.
        begun: processes that stages wait for, by their name; they end with ``ending``.
        waiting: what may be done while another process is waited for.
        early: what was done of a stage's work before, by its name; None: nothing.
    """

    def __init__(self, recipe: Recipe, draft: Draft, cache: Cache, progress: Progress) -> None:
        self.recipe = recipe
        self.draft = draft
        self.cache = cache
        self.progress = progress
        self.workspace = cache.root
        self.artifacts: dict[str, Artifact] = {}
        self.found: dict[str, tuple[dict[str, Any], str, Entry | None]] = {}
        self.begun: dict[str, Any] = {}
        self.ending = ExitStack()
        self.waiting: Callable[[], None] = lambda: None
        self.early: Callable[[str], Any] = lambda stage: None
        self.entry = sole_entry(recipe.model)
        self._settled = False

    @property
    def name(self) -> str:
        """What files and folders are called; says so when the weights are untrained."""
        return self.base_name if self.weights.trained else f"{self.base_name}-untrained"

    @property
    def base_name(self) -> str:
        """The model's name, or that of the user's own file."""
        return file_name(Path(self.recipe.weights).stem if self.recipe.model == "onnx" else self.recipe.model)

    @cached_property
    def compiled_as(self) -> dict[str, Any]:
        """What of the recipe decides how the model is compiled, and so what is predicted for it."""
        package = self.recipe.package
        types = (package.input_type, package.output_type)
        return {"compiler": self.recipe.compiler.model_dump(), "types": types, "pools": self.pools_identity}

    @cached_property
    def pools_identity(self) -> str | None:
        """Hash of the project's own memory description: its content decides results, not its path."""
        path = self.recipe.compiler.pools
        return None if path is None else sha256_of(user_path(path))

    @cached_property
    def target(self) -> Target:
        """What the model is made for: the board with the recipe's own clocks, memory and rate of the flash."""
        from n6convert.npu.options import target_of

        return target_of(self.recipe)

    @cached_property
    def target_identity(self) -> str:
        """Hash of the target: its name, the content of the board's file, and what the recipe changes."""
        return self.target.identity

    @cached_property
    def plugin(self) -> ModelPlugin:
        """The plugin with checked options; loading it may import a framework."""
        plugin = load_plugin(self.recipe.model)
        options = check(plugin.Options, self.recipe.options, self.draft, ("options",))
        with plugin_errors(self.entry, "__init__"):
            return plugin(self.recipe.model, options)

    @property
    def ready_plugin(self) -> ModelPlugin:
        """The plugin after ``info`` was set from the exported model and ``restore`` was called."""
        if not self._settled:
            from n6convert.graph.interface import interface_of

            self.settle(interface_of(self.artifacts["export"].load()))
        return self.plugin

    def settle(self, info: ModelInfo) -> None:
        """Tell the plugin the interface of the built model, once."""
        self.plugin.info = info
        with plugin_errors(self.entry, "restore"):
            self.plugin.restore(self.weights, self.recipe.seed)
        self._settled = True

    @cached_property
    def weights(self) -> Weights:
        """Resolved weights; a name that only the plugin knows is remembered, so that a cached run need not load it."""
        from n6convert.weights.resolution import resolve
        from n6convert.weights.trust import trusting

        remembered = self._remembered_weights()
        if remembered is not None:
            return remembered
        cache = self.cache.root / "weights"
        with plugin_errors(self.entry, "resolve_weights"), trusting(self.recipe.trust):
            asked, seed = self.recipe.weights, self.recipe.seed
            found = resolve(asked, lambda: self.plugin, seed=seed, cache=cache, progress=self.progress)
        if found.kind == "pretrained":
            self._remember(found)
        return found

    @cached_property
    def sampling(self) -> Sampling:
        """Calibration and held-back samples."""
        from n6convert.pipeline.sampling import Sampling

        return Sampling(self)

    @cached_property
    def code(self) -> dict[str, str]:
        """What stands for a stage's version: hashes of the code and versions of the libraries that compute."""
        top = self.entry.module.partition(".")[0]
        parts = {name: _version(name) for name in COMPUTING_LIBRARIES}
        parts["n6convert"] = fingerprint("n6convert")
        if top != "n6convert":
            parts[top] = fingerprint(top)
        return parts

    def encode(self, sample: Sample) -> Feeds:
        """Encode a sample and check that it is what the graph takes."""
        with plugin_errors(self.entry, f"encode of sample {sample.id}"):
            feeds = self.ready_plugin.encode(sample)
        _check_feeds(feeds, self.ready_plugin.info, f"{self.recipe.model}, sample {sample.id}")
        return feeds

    def _memory_of_weights(self) -> Path:
        asked = [self.recipe.model, self.recipe.weights, self.recipe.options, self.recipe.trust, self.code]
        return self.cache.root / "resolved" / f"{key_of({'asked': asked})}.json"

    def _remembered_weights(self) -> Weights | None:
        from n6convert.plugin import Weights
        from n6convert.store.hashing import read_sealed, sha256_of

        parts = read_sealed(self._memory_of_weights())
        if parts is None or set(parts) != {"kind", "path", "sha256", "origin", "license", "trust", "files"}:
            return None
        try:
            path = Path(parts.pop("path"))
            return Weights(path=path, **parts) if sha256_of(path) == parts["sha256"] else None
        except (OSError, ValueError, TypeError):
            return None

    def _remember(self, weights: Weights) -> None:
        from n6convert.store.cache import write_atomically
        from n6convert.store.entry import clear
        from n6convert.store.hashing import sealed

        if weights.path is None or weights.sha256 is None:
            return
        parts: dict[str, Any] = {"kind": weights.kind, "path": str(weights.path), "sha256": weights.sha256}
        parts |= {"origin": weights.origin, "license": weights.license}
        parts |= {"trust": weights.trust, "files": dict(weights.files)}
        memory = self._memory_of_weights()
        if memory.is_dir():
            clear(memory)
        write_atomically(memory, sealed(parts))


def _version(distribution: str) -> str:
    """A library's version; of one that is not needed, that it is absent."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "absent"


def _check_feeds(feeds: Any, info: ModelInfo, place: str) -> None:
    expected = {t.name: (t.shape, t.dtype) for t in info.inputs}
    found = {name: (tuple(array.shape), array.dtype.name) for name, array in feeds.items()}
    if found != expected:
        raise PluginError(
            "encode() does not return what the graph takes",
            place=place,
            limit=expected,
            found=found,
            remedy="the plugin's encode() must return one array per graph input",
        )
