"""Downloads of published weights: pinned files, and models of the Hugging Face hub."""

from n6convert.weights.hub import HubModel, fetch_hub
from n6convert.weights.resolution import fetch

__all__ = ["HubModel", "fetch", "fetch_hub"]
