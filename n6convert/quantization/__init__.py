"""INT8 quantization for the Neural-ART grid."""
