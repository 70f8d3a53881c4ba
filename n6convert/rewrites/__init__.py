"""Graph rewrites that keep operators on the NPU."""
