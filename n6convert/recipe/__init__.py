"""The recipe: what a user may choose, read from YAML and checked."""

from n6convert.lazy import first_use

_SECTIONS = ("Acceptance", "Calibration", "CompilerConfig", "Evaluation", "PackageConfig", "Recipe", "SimplifyConfig")

__getattr__ = first_use("n6convert.recipe", dict.fromkeys(_SECTIONS, "schema"))
