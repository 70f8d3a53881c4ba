"""Rules for batch, instance and layer normalization."""
