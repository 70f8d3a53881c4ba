"""Names to plugins: metadata for listing, stevedore for the one plugin that runs.

Listing reads distribution metadata only, so that ``n6convert models`` imports no framework. Two distributions that
claim one name are an error that names both, since neither stevedore nor ``entry_points()`` would say a word.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, distribution, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from n6convert.errors import PluginError, UsageError
from n6convert.naming import nearest

if TYPE_CHECKING:
    from n6convert.plugin import ModelPlugin

__all__ = [
    "MODELS",
    "OFFICIAL",
    "ModelEntry",
    "fingerprint",
    "list_models",
    "load_plugin",
    "sole_entry",
    "unmet_requirements",
]

MODELS = "n6convert.models"

#: families that are published beside the core: model name prefix -> distribution to install
OFFICIAL = {
    "yolov8": "n6convert-yolov8",
    "movenet": "n6convert-movenet",
    "tinybert": "n6convert-tinybert",
    "mobilevit": "n6convert-mobilevit",
    "efficientvit": "n6convert-efficientvit",
}


@dataclass(frozen=True)
class ModelEntry:
    """One registered name, from metadata alone.

    Attributes:
        name: what the user types.
        distribution: the installed distribution that registers it.
        version: of that distribution.
        target: ``module:Class``.
        state: ``ready``, ``duplicate`` or ``broken``.
        cause: why it is not ready; empty otherwise.
    """

    name: str
    distribution: str
    version: str
    target: str
    state: str = "ready"
    cause: str = ""


def list_models() -> list[ModelEntry]:
    """Every registered model by name, with what metadata can tell about its state; imports no plugin."""
    found: dict[str, list[EntryPoint]] = {}
    for entry in _entries(MODELS):
        found.setdefault(entry.name, []).append(entry)
    owners = {_dist(entry).name: _dist(entry) for group in found.values() for entry in group}
    unmet = {name: unmet_requirements(owner) for name, owner in owners.items()}  # once, whatever its models
    return [_judged(entry, group, unmet) for _, group in sorted(found.items()) for entry in group]


def sole_entry(name: str) -> EntryPoint:
    """The one entry point behind a model name.

    Raises:
        UsageError: nobody registers the name; the nearest names and, for a known family, the distribution are given.
        PluginError: several distributions claim it.
    """
    matches = [entry for entry in _entries(MODELS) if entry.name == name]
    if not matches:
        raise _unknown(name)
    if len(matches) > 1:
        owners = [_owner(entry) for entry in matches]
        raise PluginError(
            f"the model name {name!r} is claimed by {len(matches)} distributions",
            place=", ".join(owners),
            limit="one distribution per name",
            remedy=f"pip uninstall {_dist(matches[-1]).name}   (or the other one)",
        )
    return matches[0]


def load_plugin(name: str) -> type[ModelPlugin]:
    """Import the plugin class behind a name.

    Raises:
        UsageError: unknown name.
        PluginError: claimed twice, cannot be imported, not a plugin, or written for another interface version.
    """
    from n6convert.plugin import ModelPlugin

    entry = sole_entry(name)
    plugin = _import(entry)
    if not (isinstance(plugin, type) and issubclass(plugin, ModelPlugin)):
        raise PluginError(
            f"{entry.value} is not a model plugin",
            place=_owner(entry),
            limit="a subclass of n6convert.plugin.ModelPlugin",
            found=type(plugin).__name__ if not isinstance(plugin, type) else plugin.__name__,
            remedy="its author must point the entry point at the plugin class",
        )
    _check_api_version(plugin, entry)
    return plugin


def unmet_requirements(dist: Distribution) -> list[str]:
    """Requirements of a distribution that are not installed or have another version, as written in its metadata."""
    return [str(r) for r in map(Requirement, dist.requires or []) if _applies(r) and not _installed(r)]


def fingerprint(top_package: str) -> str:
    """Hash of a package's Python and data files, so that changed code never meets an old cache entry.

    Reads files only, imports nothing.
    """
    digest = hashlib.sha256()
    for root, path in _sources(top_package):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _sources(top_package: str) -> Iterator[tuple[Path, Path]]:
    """Files of a package or a single module, each with the folder its name is relative to."""
    spec = find_spec(top_package)
    if spec is None:
        return
    for location in map(Path, spec.submodule_search_locations or []):
        files = (p for p in location.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
        yield from ((location, path) for path in sorted(files))
    if spec.submodule_search_locations is None and spec.origin:
        yield Path(spec.origin).parent, Path(spec.origin)


def _entries(group: str) -> list[EntryPoint]:
    """Entry points of a group without the doubles that one distribution seen twice on sys.path gives."""
    unique: dict[tuple[str, str, str], EntryPoint] = {}
    for entry in entry_points(group=group):
        unique.setdefault((entry.name, entry.value, _dist(entry).name.lower()), entry)
    return list(unique.values())


def _dist(entry: EntryPoint) -> Distribution:
    if entry.dist is None:
        raise PluginError("an entry point has no distribution", place=f"{entry.name} = {entry.value}")
    return entry.dist


def _owner(entry: EntryPoint) -> str:
    dist = _dist(entry)
    return f"{dist.name} {dist.version} ({entry.value})"


def _judged(entry: EntryPoint, group: list[EntryPoint], unmet: Mapping[str, list[str]]) -> ModelEntry:
    dist = _dist(entry)
    state, cause = "ready", ""
    if len(group) > 1:
        others = ", ".join(_dist(e).name for e in group if e is not entry)
        state, cause = "duplicate", f"also claimed by {others}"
    elif missing := unmet[dist.name]:
        state, cause = "broken", f"missing {', '.join(missing)}"
    elif find_spec(entry.module.partition(".")[0]) is None:
        state, cause = "broken", f"no module {entry.module}"
    return ModelEntry(entry.name, dist.name, dist.version, entry.value, state, cause)


def _import(entry: EntryPoint) -> object:
    from stevedore import DriverManager
    from stevedore.exception import NoMatches

    def fail(manager: object, broken: EntryPoint, cause: BaseException) -> None:
        raise cause

    # stevedore keeps entry points in a file that may be older than what is installed: not worth a warning, see below
    logging.getLogger("stevedore.named").setLevel(logging.ERROR)
    try:
        try:
            found = DriverManager(MODELS, entry.name, on_load_failure_callback=fail)
            extension = found.extensions[0]
            if extension.entry_point.value == entry.value:
                return extension.plugin
        except NoMatches:
            pass
        return entry.load()
    except (Exception, SystemExit) as cause:
        raise _broken(entry, cause) from cause


def _broken(entry: EntryPoint, cause: BaseException) -> PluginError:
    missing = unmet_requirements(_dist(entry))
    remedy = f"pip install {' '.join(repr(m) for m in missing)}" if missing else "report this to the plugin's author"
    return PluginError(
        f"the plugin behind {entry.name!r} cannot be loaded",
        place=_owner(entry),
        found=f"{type(cause).__name__}: {cause}",
        remedy=f"{remedy}; `n6convert doctor` shows all plugins",
    )


def _check_api_version(plugin: type[ModelPlugin], entry: EntryPoint) -> None:
    from n6convert.plugin import API_VERSION

    major, minor = plugin.api_version
    if major == API_VERSION[0] and minor <= API_VERSION[1]:
        return
    newer = (major, minor) > API_VERSION
    raise PluginError(
        f"the plugin behind {entry.name!r} was written for another plugin interface",
        place=_owner(entry),
        limit=f"{API_VERSION[0]}.0 to {API_VERSION[0]}.{API_VERSION[1]}",
        found=f"{major}.{minor}",
        remedy=f"pip install --upgrade {'n6convert' if newer else _dist(entry).name}",
    )


def _unknown(name: str) -> UsageError:
    known = {entry.name for entry in _entries(MODELS)}
    family = next((dist for prefix, dist in OFFICIAL.items() if name.lower().startswith(prefix)), None)
    close = nearest(name, known)
    if family and family not in {_dist(e).name for e in _entries(MODELS)}:
        remedy = f"pip install {family}"
    elif close:
        remedy = f"did you mean {' or '.join(close)}?"
    else:
        remedy = "`n6convert models` lists what is installed"
    return UsageError(f"there is no model {name!r}", limit=", ".join(sorted(known)) or "none installed", remedy=remedy)


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def _installed(requirement: Requirement) -> bool:
    """Whether a requirement is met, the extras it asks for included."""
    try:
        found = distribution(requirement.name)
    except PackageNotFoundError:
        return False
    if not requirement.specifier.contains(found.version, prereleases=True):
        return False
    needed = map(Requirement, found.requires or []) if requirement.extras else []
    return all(_installed(r) for r in needed if any(_of_extra(r, extra) for extra in requirement.extras))


def _of_extra(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    return marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})
