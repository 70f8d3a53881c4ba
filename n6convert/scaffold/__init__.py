"""Starting a plugin."""
