"""``n6convert recipe MODEL``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from n6convert.cli import completion
from n6convert.cli.options import Debug, Settings, TargetName, examples

__all__ = ["register"]

_Model = Annotated[
    str | None,
    typer.Argument(help="A model's name, or a recipe's name or path.", autocompletion=completion.models),
]
_EXAMPLES = examples("n6convert recipe yolov8n > mine.yaml", "n6convert recipe --schema > recipe.schema.json")


def register(app: typer.Typer) -> None:
    """Add the command ``recipe``."""
    app.command("recipe", epilog=_EXAMPLES)(_recipe)


def _recipe(
    model: _Model = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of recipes, for editors.")] = False,
    target: TargetName = None,
    settings: Settings = None,
    debug: Debug = False,
) -> None:
    """Print the full effective recipe of a model as YAML, ready to save and change."""
    from n6convert.api import effective_recipe
    from n6convert.cli.drafts import draft_of
    from n6convert.errors import UsageError
    from n6convert.recipe.reader import recipe_files
    from n6convert.recipe.writing import recipe_schema, to_yaml

    if schema:
        print(json.dumps(recipe_schema(), indent=2))
    elif model is None:
        raise UsageError("which model's recipe?", limit=", ".join(recipe_files()), remedy="n6convert recipe yolov8n")
    else:
        print(to_yaml(effective_recipe(draft_of(model, settings, target=target))), end="")
