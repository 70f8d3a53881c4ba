"""Published compiler reports with the model and the options that they were compiled with."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from n6convert.npu.ends import AS_MODELED, Ends
from n6convert.npu.targets import Target, load_target

_ENDS = {
    "r05_3.0.0": Ends(output_type="int8"),
    "r27_2.2.0b": Ends(input_type="uint8", output_type="int8", input_channels="chlast"),
    "r39_2.2.0": Ends(input_type="float32"),
}
_KERNELS = {"resize_integer": "Resize", "dequantizelinear": "DequantizeLinear"}
_LIBRARY = re.compile(r"^LL_ATON_LIB_(?:DMA_)?")


@dataclass(frozen=True)
class Published:
    """One report; ``off`` are its operators off the NPU as a multiset of (where, kind)."""

    truth: dict[str, Any]
    model: Path
    target: Target
    ends: Ends
    allocate_io: bool

    @property
    def off(self) -> Counter[tuple[str, str]]:
        """2.x calls software that copies with DMA hybrid in its c_info only; its reports print SW."""
        software = Counter({_KERNELS.get(name, name): n for name, n in self.truth["sw_ops"].items()})
        hybrid = Counter({_LIBRARY.sub("", name): n for name, n in self.truth["hybrid_ops"].items()})
        if self.target.version < (3, 0):
            software.update({name.split("+")[0]: n for name, n in hybrid.items()})
            hybrid.clear()
        return Counter({("sw", name): n for name, n in software.items()}) + Counter(
            {("hybrid", name): n for name, n in hybrid.items()}
        )


@pytest.fixture(scope="session")
def published(neuralart_dir: Path) -> dict[str, Published]:
    """Every shared report whose model is shared, too."""
    found = {}
    for path in sorted((neuralart_dir / "expected").glob("r*.json")):
        truth = json.loads(path.read_text())
        if truth["model_file"]:
            found[truth["id"]] = _published(truth, neuralart_dir / "reports" / truth["model_file"])
    return found


def _published(truth: dict[str, Any], model: Path) -> Published:
    version = ".".join(truth["core_version"].split(".")[:2])
    slow = ((truth["board"] or {}).get("clocks_mhz") or {}).get("npu") == 800
    pools = _pools(model.parent, truth["id"])
    target = load_target(f"{'nucleo-n657x0-q-aistudio' if slow else 'stm32n6570-dk'}@{version}", pools=pools)
    target = target.with_epoch_controller((truth["epochs"]["ec"] or 0) > 0)
    owned = "_user_io_input_0" in truth.get("pool_attributes", {})
    return Published(truth, model, target, _ENDS.get(truth["id"], AS_MODELED), not owned)


def _pools(folder: Path, name: str) -> Path | None:
    version = re.sub(r"^r\d+[a-z]?_", "", name)
    own = sorted(folder.glob(f"v{version}_*.mpool"))
    any_version = (path for path in sorted(folder.glob("*.mpool")) if not re.match(r"v\d", path.name))
    return next(iter(own), None) or next(any_version, None)
