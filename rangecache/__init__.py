"""rangecache: a local HTTP proxy that caches byte ranges of large objects."""

__version__ = "0.1.0"
