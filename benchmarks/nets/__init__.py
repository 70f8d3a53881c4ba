"""Seeded quantized networks for benchmarks: nothing here ships with the product."""
