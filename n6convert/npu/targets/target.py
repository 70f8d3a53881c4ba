"""What a target is: a board with a compiler version. :func:`n6convert.npu.targets.load_target` makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from n6convert.errors import RecipeError
from n6convert.npu.ir import Units
from n6convert.npu.st.mpool import MemoryPool, read_mpool
from n6convert.operators.versions import has
from n6convert.store.hashing import key_of

__all__ = ["Clocks", "Kernel", "Target"]


@dataclass(frozen=True, slots=True)
class Clocks:
    """Clocks in MHz."""

    cpu: int
    npu: int
    npu_ram: int
    axi: int


@dataclass(frozen=True, slots=True)
class Kernel:
    """CPU cycles of a software kernel per unit of its work: ``element``, ``byte`` or ``mac``.

    ``fixed`` CPU cycles are its own start, where it has one; ``npu`` are NPU cycles per byte of the copies that a
    hybrid kernel starts.
    """

    unit: str
    cycles: float
    source: str
    fixed: float | None = None
    npu: float = 0.0


@dataclass(frozen=True, slots=True)
class Target:
    """A board with a compiler version; all costs are physical, none belongs to a network."""

    board: str
    """Name of the board, or the path of its YAML file."""
    series: str
    """ST Edge AI's name of the family, for ``--target``."""
    description: str
    version: tuple[int, int]
    clocks: Clocks
    pools: tuple[MemoryPool, ...]
    units: Units
    streams: int
    chains: int
    flash_mb_s: float
    hyperram_mb_s: float
    start_cpu_cycles: float
    """CPU cycles before the first epoch, when the epoch controller is off."""
    unmeasured: float
    """Natural logarithm that the time of this board may be off on top of a measured one; 0 for measured boards."""
    kernels: Mapping[str, Kernel]
    constants: Mapping[str, float]
    """Scalars by dotted name, such as ``hardware_epoch.start_cycles``."""
    data: Mapping[str, Any]
    unknown: tuple[str, ...] = ()
    """What nobody has measured or published about this board and compiler, one sentence each."""
    epoch_controller: bool = True
    switches: tuple[str, ...] = ()
    """Compiler options beyond the stock profile, without dashes: ``expand-softmax``."""

    def has(self, feature: str) -> bool:
        """Whether the compiler has a feature of ``n6convert/operators/compiler.yaml``."""
        return has(self.version, feature)

    @property
    def compiler(self) -> str:
        """Version and switches as they follow the ``@``: ``4.0+expand-softmax``."""
        return "+".join([f"{self.version[0]}.{self.version[1]}", *self.switches])

    @property
    def name(self) -> str:
        """``board@version`` as it is written in recipes, with ``+switch`` for what it is compiled with."""
        return f"{self.board}@{self.compiler}"

    @property
    def label(self) -> str:
        """The board's name without the folder and suffix of its file: for names of files."""
        return Path(self.board).stem if self.board.endswith((".yaml", ".yml")) else self.board

    @property
    def identity(self) -> str:
        """Hash of all that is known of the target: what a board's file says decides results, not its path."""
        return key_of(asdict(self))

    @property
    def writable_bytes(self) -> int:
        """Size of all RAM that the compiler may use."""
        return sum(pool.size for pool in self.pools if pool.writable)

    def source(self, name: str) -> str:
        """Where a constant comes from, by dotted name."""
        node: Any = self.data
        for part in name.split("."):
            node = node[part]
        return str(node["source"])

    def with_pools(self, path: str | Path) -> Target:
        """The same target with the pools of a user's ``*.mpool``."""
        return replace(self, pools=read_mpool(path))

    def with_epoch_controller(self, enabled: bool) -> Target:
        """The same target, compiled with or without the epoch controller."""
        return replace(self, epoch_controller=enabled)

    def with_clocks(self, cpu: int, npu: int) -> Target:
        """The same board at other clocks (MHz); RAM and bus keep their ratio to the NPU."""
        if cpu <= 0 or npu <= 0:
            raise RecipeError("clocks must be positive", found=f"{cpu}/{npu}", limit="MHz of CPU/NPU, e.g. 600/800")
        now = self.clocks
        ratio = npu / now.npu
        return replace(self, clocks=Clocks(cpu, npu, round(now.npu_ram * ratio), round(now.axi * ratio)))

    def with_flash(self, mb_s: float) -> Target:
        """The same board with weights streaming at another rate (MB/s)."""
        if not mb_s > 0:
            raise RecipeError("the rate of the flash must be positive", found=mb_s, limit="MB/s")
        return replace(self, flash_mb_s=mb_s)
