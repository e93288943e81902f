"""How a verdict is shown: one file a format, each with its own frozen shape."""
