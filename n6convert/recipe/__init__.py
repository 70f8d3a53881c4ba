"""The recipe: what a user may choose, read from YAML and checked."""

from n6convert.lazy import first_use

_SECTIONS = ("Acceptance", "Calibration", "CompilerConfig", "Evaluation", "PackageConfig", "Recipe", "SimplifyConfig")
_HOMES = {
    "checking": ("check", "finish"),
    "draft": ("Draft", "draft_of_model", "parse_setting"),
    "reader": ("draft_of_file", "over_project", "recipe_files"),
    "schema": _SECTIONS,
    "writing": ("recipe_schema", "to_yaml"),
}

__getattr__ = first_use("n6convert.recipe", {name: home for home, names in _HOMES.items() for name in names})
