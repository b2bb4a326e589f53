"""What tests of every room may ask for."""

from tests.emulators import seaweedfs as seaweedfs

pytest_plugins = ["tests.proving"]  # the fixture `proof` and the table of `make prove`
