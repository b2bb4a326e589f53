"""What tests of every room may ask for."""

from hypothesis import Phase, settings

from tests.azurite_server import azurite as azurite
from tests.emulators import fake_gcs as fake_gcs
from tests.emulators import seaweedfs as seaweedfs
from tests.moto_server import moto as moto

pytest_plugins = ["tests.proving"]  # the fixture `proof` and the table of `make prove`

# A busy machine is no reason to fail. Otherwise as it would be: CI and `--hypothesis-profile` still choose.
settings.register_profile("unhurried", settings.default, deadline=None)
settings.load_profile("unhurried")
# For `mutmut`: the same examples each time, so that nothing is noticed by luck, and no search for the smallest.
settings.register_profile(
    "mutants", settings.get_profile("ci"), phases=(Phase.explicit, Phase.generate), report_multiple_bugs=False
)
