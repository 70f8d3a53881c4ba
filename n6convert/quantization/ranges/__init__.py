"""Calibration: from samples to the range of each tensor."""
