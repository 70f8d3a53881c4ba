"""Methods that walk layer by layer: bias correction and second-order rounding."""
