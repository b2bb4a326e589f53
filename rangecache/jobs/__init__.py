"""Work that somebody starts, watches and may cancel: it outlives the request that asked for it."""
