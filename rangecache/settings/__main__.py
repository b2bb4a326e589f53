"""`python -m rangecache.settings` prints `docs/configuration.md`."""

import sys

from rangecache.settings.reference import reference

sys.stdout.write(reference())
