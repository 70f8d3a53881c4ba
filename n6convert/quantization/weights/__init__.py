"""Weights of four bits, mixed precision, and weights that layers share."""
