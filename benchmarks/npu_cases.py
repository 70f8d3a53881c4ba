"""The compiler reports that the predictor is held against."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from nets.qdq import attention_encoder, padded_detector

from n6convert.npu.ends import AS_MODELED, Ends

__all__ = ["NEURALART", "Reported", "Source", "reported"]

ROOT = Path(__file__).resolve().parent.parent
NEURALART = Path(os.environ.get("N6_NEURALART", ROOT.parent / "shared" / "neuralart"))

_KERNELS = {"resize_integer": "Resize", "dequantizelinear": "DequantizeLinear"}
_LIBRARY = re.compile(r"^LL_ATON_LIB_(?:DMA_)?")

Source = Path | Callable[[], onnx.ModelProto]


@dataclass(frozen=True)
class Reported:
    """A compiler report in normal form, with its model and the options that matter."""

    truth: dict[str, Any]
    model: Source
    target: str
    controller: bool
    pools: Path | None
    allocate_io: bool
    ends: Ends = AS_MODELED

    @property
    def id(self) -> str:
        return str(self.truth["id"])

    @property
    def stand_in(self) -> bool:
        """Whether the published file is missing, and another model of the same layers takes its place."""
        return self.truth["model_file"] is None

    @property
    def off(self) -> Counter[tuple[str, str]] | None:
        """Operators off the NPU by place and kind; None for a board's log, which counts epochs but names nothing.

        Reports of 2.x print software that copies with DMA as software; only their c_info calls it hybrid.
        """
        software = Counter({_KERNELS.get(name, name): n for name, n in self.truth["sw_ops"].items()})
        hybrid = Counter({_LIBRARY.sub("", name): n for name, n in self.truth["hybrid_ops"].items()})
        if self.truth["epochs"]["sw"] and not software:
            return None
        if self.truth["core_version"].startswith("2."):
            software.update({name.split("+")[0]: n for name, n in hybrid.items()})
            hybrid.clear()
        return Counter({("sw", name): n for name, n in software.items()}) + Counter(
            {("hybrid", name): n for name, n in hybrid.items()}
        )


def _textgen() -> onnx.ModelProto:
    """The six-layer transformer of r15, rebuilt from its layer table (the file is not published)."""
    return attention_encoder(6, 30, 128, 4, 1024, 20000)


_STAND_INS: dict[str, str | Callable[[], onnx.ModelProto]] = {
    "r09b_2.1.0": "r09_peleab_history/mobilefacenet__PerChannel_quant.onnx",
    "r09c_2.1.0": "r07_mobilefacenet_int8_qdq/mobilefacenet_int8_faces.onnx",
    "r15_2.1.0": _textgen,
    "r15_2.2.0": _textgen,
    "r56_2.2.0": padded_detector,
}
"""For reports without their model: a file with the same layers, or a rebuilt graph."""


def reported() -> Iterator[Reported]:
    """Every shared report, with its model or a stand-in."""
    for path in sorted((NEURALART / "expected").glob("r*.json")):
        truth = json.loads(path.read_text())
        model = truth["model_file"] or _STAND_INS.get(truth["id"])
        if model is None:
            continue
        source = NEURALART / "reports" / model if isinstance(model, str) else model
        pools = _pools(source, truth) if isinstance(source, Path) else []
        yield Reported(
            truth,
            source,
            _target(truth),
            (truth["epochs"]["ec"] or 0) > 0,
            pools[0] if pools else None,
            allocate_io="_user_io_input_0" not in truth.get("pool_attributes", {}),
            ends=_ENDS.get(truth["id"], AS_MODELED),
        )


_ENDS = {
    "r05_3.0.0": Ends(output_type="int8"),
    "r27_2.2.0b": Ends(input_type="uint8", output_type="int8", input_channels="chlast"),
    "r39_2.2.0": Ends(input_type="float32"),
    "r56_2.2.0": Ends("float32", "float32", "chlast"),
}
"""Options of the reports' command lines that change the ends of the network (r05, r56: as the truth shows them)."""


def _pools(source: Path, truth: dict[str, Any]) -> list[Path]:
    """The pool file of a report: that of its version where a folder holds several, else one for every version."""
    version = re.sub(r"^r\d+[a-z]?_(?:opt_)?", "", truth["id"])
    found = sorted(source.parent.glob("*.mpool"))
    return [path for path in found if path.name.startswith(f"v{version}_")] or [
        path for path in found if not re.match(r"v\d", path.name)
    ]


def _target(truth: dict[str, Any]) -> str:
    version = ".".join(truth["core_version"].split(".")[:2])
    clocks = (truth.get("board") or {}).get("clocks_mhz") or {}
    nucleo = clocks.get("npu") == 800 or "aistudio" in truth["id"]
    return f"{'nucleo-n657x0-q-aistudio' if nucleo else 'stm32n6570-dk'}@{version}"
