"""Rules that drop or fold what computes nothing."""
