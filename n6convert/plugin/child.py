"""Frameworks in a process of their own, so that nobody pays for them who does not use them."""

from n6convert.importers.child import HUGGING_FACE, Child, require, run_module, scratch_folder

__all__ = ["HUGGING_FACE", "Child", "require", "run_module", "scratch_folder"]
