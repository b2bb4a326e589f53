"""Small asyncio machines that know nothing of objects."""
