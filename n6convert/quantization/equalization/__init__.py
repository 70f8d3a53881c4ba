"""Cross-layer equalization: one scale that serves all channels of a tensor."""
