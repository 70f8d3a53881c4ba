"""Rules for functions of single values."""
