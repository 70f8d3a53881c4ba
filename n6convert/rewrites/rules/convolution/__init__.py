"""Rules that make, merge and split convolutions."""
