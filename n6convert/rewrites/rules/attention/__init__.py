"""Rules for softmax and attention."""
