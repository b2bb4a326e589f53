"""Looks into a provider, or into this machine, step by step, and says what to fix."""
