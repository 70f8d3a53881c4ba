"""Rules for pools and reductions."""
