"""Exact other forms of a graph that lose less in 8 bits."""
