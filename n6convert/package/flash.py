"""Where a package lies in the external flash: weights from the pool's start on, tables on blocks of their own at its
end.

The compiler decides how many bytes the weights take, tables are known to the byte; from both ends neither meets the
other when a prediction was a little off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from n6convert.errors import OutputError
from n6convert.escaping import c_identifier
from n6convert.package.csource import guarded

if TYPE_CHECKING:
    from n6convert.npu.st.mpool import MemoryPool

__all__ = ["ERASE_BLOCK", "FlashPart", "blocks", "flash_header", "flash_pool", "place_tables"]

#: erase block of the boards' octal flash in bytes; what shares none is programmed without touching its neighbor
ERASE_BLOCK = 64 * 1024


@dataclass(frozen=True)
class FlashPart:
    """A file's place in the flash."""

    name: str
    start: int
    size: int


def blocks(size: int) -> int:
    """Bytes of whole erase blocks that hold ``size`` bytes."""
    return -(-size // ERASE_BLOCK) * ERASE_BLOCK


def flash_pool(pools: Sequence[MemoryPool]) -> MemoryPool | None:
    """The read-only pool that holds constants, where there is one."""
    return next((pool for pool in pools if pool.constants and not pool.writable), None)


def place_tables(pool: MemoryPool, tables: Mapping[str, int]) -> list[FlashPart]:
    """Tables by name and bytes, at the end of the pool.

    Raises:
        OutputError: they are larger than the pool.
    """
    end, found = pool.end // ERASE_BLOCK * ERASE_BLOCK, []
    for name, size in sorted(tables.items(), reverse=True):
        end -= blocks(size)
        found.append(FlashPart(name, end, size))
    if end < pool.start:
        raise OutputError(
            "the tables do not fit the flash", place=pool.name, limit=f"{pool.size:,} bytes",
            found=f"{sum(tables.values()):,} bytes", remedy="options.table=int8, or another memory description",
        )  # fmt: skip
    return found[::-1]


def flash_header(stem: str, pool: MemoryPool, tables: Mapping[str, int]) -> str:
    """Addresses for firmware: of the weights, and of every table.

    Args:
        stem: prefix of the package's symbols and files.
        pool: of the external flash.
        tables: bytes of every table by file name.
    """
    prefix = f"{stem.upper()}_FLASH"
    lines = [f"#define {prefix}_WEIGHTS (0x{pool.start:08X}u)"]
    for part in place_tables(pool, tables):
        name = c_identifier(PurePath(part.name).stem).upper()
        lines += [f"#define {prefix}_{name} (0x{part.start:08X}u) /* {part.size:,} bytes */"]
    return guarded(f"{stem}_flash", "\n".join(lines))
