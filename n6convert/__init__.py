"""Convert neural networks for the STM32N6 NPU."""

__version__ = "0.1.0"
