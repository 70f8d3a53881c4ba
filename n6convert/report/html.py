"""``report.html`` of a run, made from ``report.json`` and the pictures beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from n6convert.errors import SourceError
from n6convert.report.render import render_page
from n6convert.report.schema import PartialReport, check_report
from n6convert.report.view import page_values
from n6convert.results import Report
from n6convert.store.inputs import is_folder, read_json

__all__ = ["report_errors", "read_report", "write_report"]

_MAJOR = "1"


def write_report(report: Report, folder: Path, *, path: Path | None = None, force: bool = False) -> Path:
    """Draw a run's report.

    Args:
        report: of the run.
        folder: where its pictures lie.
        path: file to write; default ``folder/report.html``.
        force: also over a file that is no page of n6convert.

    Raises:
        OutputError: the file cannot be written, or is somebody else's.
    """
    target = path or folder / "report.html"
    render_page(target, "page.html.j2", force=force, **page_values(report, folder))
    return target


def read_report(folder: Path) -> PartialReport:
    """``report.json`` of a run's folder, or the file itself.

    Raises:
        SourceError: missing, not JSON, not a report, damaged, or of a schema this version cannot read.
    """
    path = folder / "report.json" if is_folder(folder) else folder
    try:
        report: Any = read_json(path)
    except OSError as error:
        raise SourceError(
            "there is no report", place=path, found=error.strerror, remedy="give the folder of a run"
        ) from None
    version = report.get("schema_version") if isinstance(report, dict) else None
    if not isinstance(version, str):
        raise SourceError("this is not a report of n6convert", place=path, limit="a schema_version")
    if version.partition(".")[0] != _MAJOR:
        raise SourceError(
            "this report has another schema version",
            place=path,
            limit=f"{_MAJOR}.x",
            found=version,
            remedy="read it with the version of n6convert that wrote it, or convert again",
        )
    return check_report(report, path)


@contextmanager
def report_errors(*places: Path) -> Iterator[None]:
    """Tell a report that is damaged inside from a mistake of ours: around whatever uses reports that users give.

    Raises:
        SourceError: a part is missing or of another type.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise SourceError(
            "the report is damaged: a part is missing or of another type",
            place=", ".join(map(str, places)),
            found=f"{type(error).__name__}: {error}",
            remedy="convert again; finished stages come from the cache",
        ) from error
