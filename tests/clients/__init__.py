"""Real programs read through the proxy."""
