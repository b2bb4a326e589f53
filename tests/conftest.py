"""What tests of every room may ask for."""

from tests.emulators import seaweedfs as seaweedfs
