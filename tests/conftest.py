"""What tests of every room may ask for."""

from tests.emulators import fake_gcs as fake_gcs
from tests.emulators import seaweedfs as seaweedfs

pytest_plugins = ["tests.proving"]  # the fixture `proof` and the table of `make prove`
