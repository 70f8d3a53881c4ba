"""Rules for reshapes, transposes and broadcasts."""
