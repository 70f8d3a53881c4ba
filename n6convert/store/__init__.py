"""What lies on disk: files that users give, files that are written, and the cache of stage results."""
