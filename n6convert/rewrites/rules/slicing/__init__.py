"""Rules for Slice, Gather, Split and Concat."""
