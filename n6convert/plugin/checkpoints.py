"""Weight files as arrays; no code in them is run."""

from n6convert.checkpoints import Record, flatten, load_safetensors, load_tensors, load_torch, walk_modules, what_is

__all__ = ["Record", "flatten", "load_safetensors", "load_tensors", "load_torch", "walk_modules", "what_is"]
