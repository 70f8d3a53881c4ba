"""Inputs and outputs of the INT8 model, for generated C."""

from n6convert.package.ports import Port

__all__ = ["Port"]
