"""The contract kit for plugin authors: what every model plugin must keep, checked in one call.

::

    from n6convert.testing import check_plugin

    def test_contract():
        check_plugin("my-model")
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from n6convert.errors import N6ConvertError, PluginError

if TYPE_CHECKING:
    from n6convert.pipeline.run import Run
    from n6convert.plugin import ModelPlugin
    from n6convert.recipe.draft import Draft
    from n6convert.store.cache import Cache

__all__ = ["FRAMEWORKS", "CheckedPlugin", "check_plugin"]

#: modules that loading a plugin must not import: they belong inside ``build``
FRAMEWORKS = ("torch", "tensorflow", "transformers", "keras", "jax")
_FEW_SAMPLES = {"samples": 2, "held_back": 1}


class CheckedPlugin:
    """A plugin under test, in a run that has exported its seeded model; :meth:`checks` are the contract."""

    def __init__(self, run: Run) -> None:
        self.run = run

    @property
    def plugin(self) -> ModelPlugin:
        """The plugin with its model built."""
        return self.run.ready_plugin

    def checks(self) -> dict[str, Callable[[], None]]:
        """The contract, one check a sentence."""
        return {
            "loading it imports no framework": self.import_is_cheap,
            "seeded weights give the same bytes each time": self.build_is_deterministic,
            "there are samples, with names and in the same order each time": self.samples_are_stable,
            "encode() gives what the graph takes, the same each time": self.encode_fits,
            "augment() gives what encode() takes, the same from the same seed": self.augment_is_repeatable,
            "training_loss() gives one number with a gradient, or None": self.training_loss_is_a_number,
            "decode() and draw() take the graph's outputs": self.decode_works,
            "unknown weights are refused with a message": self.unknown_weights_are_refused,
        }

    def import_is_cheap(self) -> None:
        """Importing the plugin loads no framework."""
        code = (
            "import sys; from n6convert.registry import load_plugin; load_plugin(sys.argv[1]);"
            f"print(*sorted(set({FRAMEWORKS}) & set(sys.modules)))"
        )
        command = [sys.executable, "-c", code, self.plugin.name]
        loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        _require(not loaded, f"imports {', '.join(loaded)}: move those imports into build()")

    def build_is_deterministic(self) -> None:
        """Two builds with one seed are equal to the byte."""
        from n6convert.graph.io import save
        from n6convert.pipeline.artifact import MODEL_FILE
        from n6convert.plugin import BuildRequest

        with TemporaryDirectory() as scratch:
            built = self.run.plugin.build(BuildRequest(self.run.weights, self.run.recipe.seed, Path(scratch)))
            built.model.metadata_props.update(built.metadata)
            save(built.model, Path(scratch) / MODEL_FILE)
            first, second = self.run.artifacts["export"].entry.folder, Path(scratch)
            for name in (MODEL_FILE, f"{MODEL_FILE}.data"):
                same = _bytes(first / name) == _bytes(second / name)
                _require(same, "two builds from one seed differ")

    def samples_are_stable(self) -> None:
        """Samples have names of their own and come in the same order again."""
        source = self.plugin.samples()
        first = [(s.id, s.sha256) for s, _ in zip(source, range(3), strict=False)]
        second = [(s.id, s.sha256) for s, _ in zip(source, range(3), strict=False)]
        _require(bool(first) and len(source) >= len(first), "samples() gives none, or its length is wrong")
        _require(first == second, "samples() gives others the second time")
        _require(len({name for name, _ in first}) == len(first), "samples have the same id")

    def encode_fits(self) -> None:
        """Encoded samples have the shapes and types of the graph's inputs."""
        sample = next(iter(self.plugin.samples()))
        first, second = self.run.encode(sample), self.run.encode(sample)
        same = all(np.array_equal(first[name], second[name]) for name in first)
        _require(same, "encode() gives other arrays the second time")

    def augment_is_repeatable(self) -> None:
        """Changed samples are the same for the same seed and still fit the graph."""
        sample = next(iter(self.plugin.samples()))
        made = [self.plugin.augment(sample, np.random.default_rng(1)) for _ in range(2)]
        _require(made[0].sha256 == made[1].sha256, "augment() gives another sample from the same seed")
        self.run.encode(made[0])

    def training_loss_is_a_number(self) -> None:
        """The training loss of real outputs is one finite number."""
        if find_spec("torch") is None:
            return
        import torch

        outputs = {t.name: torch.zeros(t.shape, requires_grad=True) for t in self.plugin.info.outputs}
        for sample, _ in zip(self.plugin.samples(), range(3), strict=False):
            loss = self.plugin.training_loss(outputs, sample) if sample.label is not None else None
            number = loss is None or (hasattr(loss, "numel") and loss.numel() == 1 and loss.requires_grad)
            _require(number, "training_loss() must return a torch tensor of one number made from the outputs, or None")

    def decode_works(self) -> None:
        """Outputs of a sample decode, and its picture can be drawn."""
        from n6convert.runtime.session import run_model

        sample = next(iter(self.plugin.samples()))
        outputs = run_model(self.run.artifacts["export"].model_path, self.run.encode(sample))
        prediction = self.plugin.decode(outputs, sample)
        image = self.plugin.draw(sample, prediction, prediction)
        _require(image is None or hasattr(image, "save"), "draw() must return a PIL image or None")

    def unknown_weights_are_refused(self) -> None:
        """Weights that do not exist are refused with a message."""
        with TemporaryDirectory() as folder, _refusing("weights that do not exist"):
            found = self.plugin.resolve_weights("no such weights", cache=Path(folder))
            if found is None:
                raise N6ConvertError("refused by the core")


def check_plugin(name: str, *, options: Mapping[str, Any] | None = None, convert: bool = True) -> list[str]:
    """Check a registered model against the contract of :class:`n6convert.plugin.ModelPlugin`.

    Args:
        name: as registered.
        options: plugin options that make the model small.
        convert: also run a whole conversion with seeded weights, in a temporary folder.

    Returns:
        the sentences that hold.

    Raises:
        PluginError: the first sentence that does not hold, and why.
        N6ConvertError: the plugin cannot even be loaded or built.
    """
    from n6convert.api import convert_draft, make_draft
    from n6convert.store.cache import Cache

    values = {"model": name, "weights": "seeded", "options": dict(options or {}), "calibration": _FEW_SAMPLES}
    draft = make_draft(values)
    with TemporaryDirectory() as folder:
        cache = Cache(Path(folder))
        checked = CheckedPlugin(_exported(draft, cache))
        held = []
        for sentence, check in checked.checks().items():
            try:
                check()
            except _Broken as broken:
                raise PluginError(f"{name}: {broken}", limit=sentence) from None
            held.append(sentence)
        if convert:
            draft.values["output"] = str(Path(folder) / "out")
            convert_draft(draft, cache=cache)
            held.append("a whole conversion with seeded weights is accepted")
    return held


class _Broken(Exception):
    """A check that does not hold."""


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise _Broken(otherwise)


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """The block must raise an error of n6convert, and no other."""
    try:
        yield
    except N6ConvertError:
        return
    except Exception as error:
        raise _Broken(f"{what} ended in {type(error).__name__}: {error}; raise SourceError instead") from error
    raise _Broken(f"{what} were accepted")


def _exported(draft: Draft, cache: Cache) -> Run:
    """A run whose export stage is done; a conversion with the same cache does not build again."""
    from n6convert.pipeline.run import Run
    from n6convert.pipeline.runner import execute
    from n6convert.pipeline.stages.export import Export
    from n6convert.recipe.checking import finish

    run = Run(finish(draft), draft, cache, lambda what, done, total: None)
    run.artifacts["export"] = execute(Export(), run)
    return run


def _bytes(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b""
