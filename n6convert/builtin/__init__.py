"""Models that come with the core, registered through the same door as anybody else's."""
