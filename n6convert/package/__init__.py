"""The folder that a firmware engineer takes over: commands, profiles, C, self-test and model card."""

from __future__ import annotations

from n6convert.package.write import PackageRequest, write_package

__all__ = ["PackageRequest", "write_package"]
