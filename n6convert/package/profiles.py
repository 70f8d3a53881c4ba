"""Memory pools and ``user_neuralart.json`` for ST's compiler ([#memory-pools], [#files])."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from n6convert.npu.st.command import PROFILE, profile_options

if TYPE_CHECKING:
    from n6convert.npu.st.mpool import MemoryPool
    from n6convert.npu.targets import Target

__all__ = ["mpool_text", "profile_text"]

_APPLICATION = "-app"
"""End of the names of boards inside ST's applications."""

_FILE_PARTS = {
    "flexMEM": "AXIFLEXMEM",
    "hyperRAM": "xSPI1",
    "octoFlash": "xSPI2",
    **{f"cpuRAM{i}": f"AXISRAM{i}" for i in (1, 2)},
    **{f"npuRAM{i}": f"AXISRAM{i}" for i in (3, 4, 5, 6)},
}
#: the NPU's cache for external memories: 256 kB, 512 lines x 64 B x 8 ways ([#units])
_CACHE = {
    "nlines": 512,
    "linesize": 64,
    "associativity": 8,
    "bypass_enable": 1,
    "prop": {"rights": "ACC_WRITE", "throughput": "MID", "latency": "MID", "byteWidth": 8, "freqRatio": 2.5},
}


def mpool_text(pools: Sequence[MemoryPool]) -> str:
    """An mpool description of the target's pools, fastest first as the target lists them."""
    memory = {"cacheinfo": [_CACHE], "mem_file_prefix": "atonbuf", "mempools": [_pool(p) for p in pools if p.size]}
    return json.dumps({"params": {"param": []}, "memory": memory}, indent=2) + "\n"


def profile_text(target: Target, mpool: str) -> str:
    """``user_neuralart.json``: the pools in file ``mpool``, stock options, the target's switches.

    Where ST's applications are the target, their own profile stands beside it, under the name that their scripts use.
    """
    profiles = {PROFILE: _profile(target, mpool, application=False)}
    if target.label.endswith(_APPLICATION):
        profiles["default"] = _profile(target, mpool, application=True)
    return json.dumps({"Globals": {}, "Profiles": profiles}, indent=2) + "\n"


def _profile(target: Target, mpool: str, *, application: bool) -> dict[str, str]:
    options = profile_options(target.version, epoch_controller=target.epoch_controller, application=application)
    words = [*options, *(f"--{switch}" for switch in target.switches)]
    return {"memory_pool": f"./{mpool}", "options": " ".join(words)}


def _pool(pool: MemoryPool) -> dict[str, Any]:
    external = pool.name in ("hyperRAM", "octoFlash")
    speed = ("MID", "HIGH") if external else ("HIGH", "LOW") if pool.name.startswith("npu") else ("MID", "MID")
    properties: dict[str, Any] = {
        "rights": "ACC_WRITE" if pool.writable else "ACC_READ",
        "throughput": speed[0],
        "latency": speed[1],
        "byteWidth": pool.byte_width,
        "freqRatio": pool.freq_ratio,
    }
    if external:
        properties["cacheable"] = "CACHEABLE_ON"
    if pool.constants:
        properties["constants_preferred"] = "true"
    return {
        "fname": _FILE_PARTS.get(pool.name, pool.name),
        "name": pool.name,
        "fformat": "FORMAT_RAW",
        "prop": properties,
        "offset": {"value": f"0x{pool.start:08x}", "magnitude": "BYTES"},
        "size": {"value": str(pool.size), "magnitude": "BYTES"},
    }
