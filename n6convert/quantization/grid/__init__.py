"""INT8 grids: scale and zero point of each tensor, and the QDQ file that holds them."""
