"""``manifest.json``: everything that decided a result, equal for equal inputs; no times, no paths of this machine.

One key is outside of that promise: ``computed_with`` says by which code and on what kind of machine. Runs that differ
in the machine alone give the same files (:mod:`n6convert.quantization.stable` says how far that holds).
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement

from n6convert.results.manifest import Machine, Manifest, ManifestWeights
from n6convert.runtime.threads import default_threads

if TYPE_CHECKING:
    from n6convert.pipeline.run import Run
    from n6convert.recipe.schema import Recipe

__all__ = [
    "COMPUTED_WITH",
    "SCHEMA_VERSION",
    "compared",
    "environment",
    "machine",
    "make_manifest",
    "portable_recipe",
    "to_json",
]

SCHEMA_VERSION = "1.0"
COMPUTED_WITH = "computed_with"


def make_manifest(run: Run, files: Mapping[str, str]) -> Manifest:
    """The manifest of a finished run.

    Args:
        run: with all stages done.
        files: sha256 of each published artifact by name.
    """
    from n6convert.plugin import API_VERSION

    dist = run.entry.dist
    return {
        "tool": "n6convert",
        "schema": SCHEMA_VERSION,
        "model": run.recipe.model,
        "name": run.name,
        "plugin": {
            "distribution": dist.name if dist else "",
            "version": dist.version if dist else "",
            "class": run.entry.value,
            "api": ".".join(map(str, API_VERSION)),
        },
        "seed": run.recipe.seed,
        "target": run.recipe.target,
        "weights": _weights(run),
        "recipe": portable_recipe(run.recipe),
        "samples": _samples(run),
        "stages": {name: artifact.entry.files for name, artifact in run.artifacts.items()},
        "files": [{"path": name, "sha256": sha} for name, sha in sorted(files.items())],
        "python": platform.python_version(),
        "packages": environment("n6convert", *([dist.name] if dist else [])),
        "computed_with": {"code": _hashes_of_code(run), **machine()},
    }


def compared(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What equal inputs make equal."""
    return {key: value for key, value in manifest.items() if key != COMPUTED_WITH}


def machine() -> Machine:
    """What a result should not depend on: architecture, instruction sets that numpy found, threads."""
    import numpy as np

    found: Any = np.show_config(mode="dicts")
    features = sorted(found.get("SIMD Extensions", {}).get("found", []))
    return {"architecture": platform.machine(), "cpu_features": features, "threads": default_threads()}


def environment(*roots: str) -> dict[str, str]:
    """Versions of the named distributions and of everything they need, extras included, sorted by name."""
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    pending = [(root, "") for root in roots]
    while pending:
        name, extra = wanted = pending.pop()
        try:
            dist = distribution(name)
        except (PackageNotFoundError, ValueError):  # ValueError: a plugin whose distribution was removed meanwhile
            continue
        if wanted not in seen:
            seen.add(wanted)
            found[dist.name] = dist.version
            pending += _needs(dist, extra)
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def portable_recipe(recipe: Recipe) -> dict[str, Any]:
    """The recipe with paths reduced to file names, and without the output folder."""
    plain = recipe.model_dump(mode="json", exclude={"output"})
    for key in ("weights", "target"):
        plain[key] = Path(plain[key]).name
    for section in ("calibration", "evaluation"):
        source = plain[section]["source"]
        plain[section]["source"] = Path(source).name if source else None
    pools = plain["compiler"]["pools"]
    plain["compiler"]["pools"] = Path(pools).name if pools else None
    return plain


def to_json(content: Mapping[str, Any]) -> bytes:
    """Stable JSON: indented, in the given order, with a final newline."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8", "backslashreplace")  # half a surrogate pair, as JSON escapes it


def _hashes_of_code(run: Run) -> dict[str, str]:
    """sha256 of the packages that computed, by name."""
    from n6convert.pipeline.run import COMPUTING_LIBRARIES

    return {name: text for name, text in run.code.items() if name not in COMPUTING_LIBRARIES}


def _weights(run: Run) -> ManifestWeights:
    weights = run.weights
    origin = Path(weights.origin).name if weights.kind == "file" else weights.origin
    return {
        "kind": weights.kind,
        "origin": origin,
        "sha256": weights.sha256,
        "trained": weights.trained,
        "license": weights.license,
        "trust": weights.trust,
        "files": dict(weights.files),
    }


def _samples(run: Run) -> dict[str, Any]:
    quantized = run.artifacts.get("quantize")
    evaluated = run.artifacts.get("evaluate")
    parts = dict(quantized.facts["samples"]) if quantized else {}
    if evaluated and "samples" in evaluated.facts:
        parts["evaluation"] = evaluated.facts["samples"]
    return parts


def _needs(dist: Distribution, extra: str) -> Iterator[tuple[str, str]]:
    """Name and extra of each requirement; once without and once with each extra that is asked for."""
    for requirement in map(Requirement, dist.requires or []):
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            for wanted in ("", *sorted(requirement.extras)):
                yield requirement.name, wanted
