"""What tests of every room may ask for."""

from hypothesis import settings

from tests.emulators import fake_gcs as fake_gcs
from tests.emulators import seaweedfs as seaweedfs

pytest_plugins = ["tests.proving"]  # the fixture `proof` and the table of `make prove`

# A busy machine is no reason to fail. Otherwise as it would be: CI and `--hypothesis-profile` still choose.
settings.register_profile("unhurried", settings.default, deadline=None)
settings.load_profile("unhurried")
