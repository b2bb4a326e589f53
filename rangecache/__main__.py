"""`python -m rangecache`."""

import sys

from rangecache.cli import main

sys.exit(main())
