"""Model graphs as files: loading, checking and saving, the same for every command."""
