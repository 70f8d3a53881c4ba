"""What each input of an operator is, and which tensors share their values' grid."""
