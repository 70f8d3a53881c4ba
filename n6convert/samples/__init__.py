"""Where samples come from: folders, COCO json, tables, arrays, text, and synthetic ones.

Every source walks its samples in a fixed order with one in memory at a time, skips what it cannot read, counts it, and
refuses when that is too large a share.
"""

from __future__ import annotations

from n6convert.samples.base import Sample, SampleSource
from n6convert.samples.coco import CocoLabel
from n6convert.samples.listed import ListedSource
from n6convert.samples.opening import fingerprint_samples, open_samples
from n6convert.samples.splitting import split_by_hash, without
from n6convert.samples.synthetic import synthetic_samples

__all__ = [
    "CocoLabel",
    "ListedSource",
    "Sample",
    "SampleSource",
    "fingerprint_samples",
    "open_samples",
    "split_by_hash",
    "synthetic_samples",
    "without",
]
