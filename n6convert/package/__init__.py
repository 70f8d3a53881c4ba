"""The folder that a firmware engineer takes over: commands, profiles, C, self-test and model card."""

from __future__ import annotations

from n6convert.package.write import PackageRequest, flash_tables, write_package

__all__ = ["PackageRequest", "flash_tables", "write_package"]
