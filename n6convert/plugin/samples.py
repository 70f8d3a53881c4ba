"""Labels and samples beside those that a folder gives."""

from n6convert.samples.coco import CocoLabel
from n6convert.samples.synthetic import dead_leaves

__all__ = ["CocoLabel", "dead_leaves"]
