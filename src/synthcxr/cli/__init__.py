"""`synthcxr <verb>`: parses and calls."""
