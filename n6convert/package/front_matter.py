"""What a model hub reads off a card: YAML in front of the Markdown, as the Hugging Face hub has it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from n6convert.results import Accuracy, Report, WeightsReport

__all__ = ["front_matter"]

_HUB = re.compile(r"([\w.-]+/[\w.-]+)@[0-9a-f]{40}")
#: beginning of a metric's name -> kind of sample -> the hub's name of the task
_TASKS = {
    "box AP": {"image": "object-detection"},
    "keypoint AP": {"image": "keypoint-detection"},
    "OKS": {"image": "keypoint-detection"},
    "top-1": {"image": "image-classification", "text": "text-classification"},
}
#: beginning of a license's name -> the hub's identifier
_LICENSES = (("Apache-2.0", "apache-2.0"), ("AGPL-3.0", "agpl-3.0"), ("MIT", "mit"), ("BSD-3-Clause", "bsd-3-clause"))


def front_matter(report: Report, kind: str) -> str:
    """The block between two lines of ``---``, for ``README.md`` of a package.

    A license is named where the weights' is known, and is ``other`` else, so that the hub asks. Measured figures stand
    in ``model-index``; predictions do not, since nobody measured them.

    Args:
        report: of the run.
        kind: of samples: ``image``, ``text`` or ``arrays``.
    """
    facts: dict[str, Any] = {"license": _license(report.weights), "library_name": "onnx"}
    if base := _HUB.fullmatch(report.weights.origin):
        facts |= {"base_model": base[1], "base_model_relation": "quantized"}
    task = _task(report.accuracy, kind)
    facts |= {"pipeline_tag": task} if task else {}
    facts["tags"] = ["stm32", "stm32n6", "neural-art", "npu", "int8", "quantized", "n6convert"]
    if index := _index(report, task):
        facts["model-index"] = index
    return f"---\n{yaml.safe_dump(facts, sort_keys=False, allow_unicode=True)}---\n"


def _license(weights: WeightsReport) -> str:
    named = weights.license or ""
    return next((short for begin, short in _LICENSES if named.startswith(begin)), "other")


def _task(accuracy: Accuracy | None, kind: str) -> str | None:
    name = accuracy.metric if accuracy else ""
    return next((tasks.get(kind) for begin, tasks in _TASKS.items() if name.startswith(begin)), None)


def _index(report: Report, task: str | None) -> list[dict[str, Any]]:
    """Float and INT8 on the task's metric; nothing without labels of the user's."""
    accuracy, source = report.accuracy, report.recipe.get("evaluation", {}).get("source")
    if not accuracy or not source or task is None:
        return []
    name = Path(str(source)).name
    metrics = [
        {"type": re.sub(r"[^a-z0-9]+", "-", accuracy.metric.lower()).strip("-"),
         "name": f"{accuracy.metric} ({kind})", "value": round(float(value), 4)}
        for kind, value in (("INT8", accuracy.int8), ("float", accuracy.float_value))
    ]  # fmt: skip
    dataset = {"name": f"{name}, {accuracy.samples} samples", "type": Path(name).stem}
    return [
        {
            "name": report.name or report.model,
            "results": [{"task": {"type": task}, "dataset": dataset, "metrics": metrics}],
        }
    ]
