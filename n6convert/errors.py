"""Every error n6convert raises on purpose, grouped by who must act.

An error is one message for a person: the stage it happened in, the place (file, node, tensor, recipe line), the limit
that was broken, the value that was found, and the remedy. The command line prints it and exits with ``exit_code``; a
traceback appears only with ``--debug``.
"""

from __future__ import annotations

__all__ = [
    "AcceptanceError",
    "DownloadError",
    "GraphError",
    "LintError",
    "N6ConvertError",
    "OutputError",
    "PluginError",
    "QuantizationError",
    "RecipeError",
    "RewriteError",
    "SourceError",
    "ToolError",
    "UsageError",
]


class N6ConvertError(Exception):
    """Base of all errors that n6convert raises on purpose.

    Args:
        problem: one sentence that says what is wrong.
        stage: pipeline stage in which it happened (filled in by the pipeline when absent).
        place: file, node, tensor or recipe line concerned.
        limit: what would have been allowed.
        found: what was there instead.
        remedy: what the reader can do about it, a command where there is one.
    """

    exit_code = 1

    def __init__(
        self,
        problem: str,
        *,
        stage: str | None = None,
        place: object = None,
        limit: object = None,
        found: object = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.stage = stage
        self.place = place
        self.limit = limit
        self.found = found
        self.remedy = remedy

    def __str__(self) -> str:
        head = f"{self.stage}: {self.problem}" if self.stage else self.problem
        details = [
            f"  {label}: {value}"
            for label, value in (
                ("where", self.place),
                ("allowed", self.limit),
                ("found", self.found),
                ("remedy", self.remedy),
            )
            if value is not None
        ]
        return "\n".join([head, *details])

    def as_dict(self) -> dict[str, str | None]:
        """The error's parts as strings, for ``--json``."""
        parts = {"problem": self.problem, "stage": self.stage, "where": self.place}
        parts |= {"allowed": self.limit, "found": self.found, "remedy": self.remedy}
        return {"error": type(self).__name__} | {k: None if v is None else str(v) for k, v in parts.items()}


class UsageError(N6ConvertError):
    """The command or the call is wrong: an unknown model, an impossible combination of options."""

    exit_code = 2


class RecipeError(UsageError):
    """The recipe is wrong: unknown key, wrong value, missing base."""


class PluginError(N6ConvertError):
    """A plugin cannot be loaded, breaks its contract or raised; its author must act."""


class SourceError(N6ConvertError):
    """A file the user gave (weights, samples, labels, a report) is missing, damaged or of another kind."""


class DownloadError(SourceError):
    """Pretrained weights could not be fetched or do not have the pinned sha256."""


class GraphError(N6ConvertError):
    """A model graph is malformed or outside what n6convert can handle."""


class RewriteError(N6ConvertError):
    """A rewrite changed the numbers or could not be applied."""


class QuantizationError(N6ConvertError):
    """A tensor or operator cannot be quantized to INT8, or the calibration data do not allow it."""


class LintError(N6ConvertError):
    """ST Edge AI would reject the model."""


class ToolError(N6ConvertError):
    """An external tool (onnxsim, stedgeai, tf2onnx) is missing, failed, or ran out of its time limit."""


class OutputError(N6ConvertError):
    """The output cannot be written: disk full, no permission, another run holds the folder."""


class AcceptanceError(N6ConvertError):
    """The model converted, but breaks a limit of the recipe's ``acceptance``; nothing was published."""

    exit_code = 3
