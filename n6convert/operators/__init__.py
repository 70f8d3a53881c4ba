"""What ST's compiler does with operators: its versions and their features, and the verdict on each operator.

The one table that placement, the linter and the quantizer answer from.
"""
