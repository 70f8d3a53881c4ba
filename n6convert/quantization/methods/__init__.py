"""The accuracy methods, in the order in which they are tried: :data:`METHODS` is the whole list.

A method looks at the best INT8 model so far and makes another one. The quantizer keeps it when the outputs on held-back
samples are closer to float, and goes on with the next until the recipe's acceptance is met or the list ends.

A method is one file, named like it, that ends in its ``METHOD``; ``base``, ``candidate``, ``context`` and ``ranges``
are what they share.
"""

from __future__ import annotations

from n6convert.quantization.methods import (
    bias_correction,
    equalization,
    merged_convolutions,
    minmax_ranges,
    outlier_channels,
    second_order_rounding,
    split_products,
    unseen_values,
    wide_functions,
)
from n6convert.quantization.methods.base import Method
from n6convert.quantization.methods.candidate import Candidate
from n6convert.quantization.methods.context import SCREEN, MethodContext

__all__ = ["METHODS", "SCREEN", "Candidate", "Method", "MethodContext"]

METHODS = (
    minmax_ranges.METHOD,
    outlier_channels.METHOD,  # before functions in parts, since norms in other forms need none
    wide_functions.METHOD,
    equalization.METHOD,
    split_products.METHOD,
    unseen_values.METHOD,
    bias_correction.METHOD,
    merged_convolutions.METHOD,  # whose weights are rounded anew
    second_order_rounding.METHOD,
)
