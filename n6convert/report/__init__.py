"""What a run found, drawn: pages, pictures, and the difference of two runs."""
