"""Inputs and outputs of the INT8 model, and words that may stand in generated C."""

from n6convert.escaping import c_comment, c_identifier, c_string
from n6convert.package.application import class_table
from n6convert.package.csource import c_float
from n6convert.package.ports import Port
from n6convert.package.st_postprocess import CUSTOM, postprocess_type

__all__ = ["CUSTOM", "Port", "c_comment", "c_float", "c_identifier", "c_string", "class_table", "postprocess_type"]
