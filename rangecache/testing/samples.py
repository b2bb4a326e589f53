"""Sample data that behaves like the real thing: a Cloud Optimized GeoTIFF and two Zarr v3 arrays.

The land is fractal noise with a power spectrum of 1/f², which is close to what terrain has; it is shaded and coloured
as an image from above would be, with sensor noise, so that Deflate saves about as much as it does on real images. The
weather is a height-dependent temperature with days and passing fronts. Everything comes from one seed: two folders made
by the same version of numpy hold the same pixels.
"""

from __future__ import annotations

import os
import shutil
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

SCENE: Final = "scene.tif"
WEATHER: Final = "weather.zarr"
PLAIN, SHARDED = "temperature", "temperature_sharded"
# Part of the folder's name: raise it when what is made changes, so that an older folder is not taken for a newer one.
_RECIPE: Final = 1
_SEED: Final = 20
_BLOCK_PIXELS: Final = 512

# Heights (0 lowest, 1 highest) and the colours found there: deep water, shallows, beach, meadow, wood, rock, snow.
_COLOUR_HEIGHTS: Final = (0.0, 0.36, 0.42, 0.44, 0.55, 0.68, 0.8, 1.0)
_COLOURS: Final = (
    (14, 42, 84),
    (28, 84, 132),
    (70, 140, 160),
    (196, 186, 140),
    (92, 128, 66),
    (70, 98, 56),
    (128, 110, 88),
    (238, 240, 244),
)
_SEA_LEVEL: Final = 0.43


@dataclass(frozen=True, slots=True)
class SampleSize:
    """How much to make."""

    scene_pixels: int
    """Width and height of the image; a multiple of 512."""
    grid_points: int
    """Width and height of the weather grid; a multiple of 256."""
    hours: int
    """Time steps of the weather; a multiple of 48."""


FULL: Final = SampleSize(scene_pixels=5120, grid_points=512, hours=96)
"""About 75 MB of image and 75 MB of arrays on disk."""
SMALL: Final = SampleSize(scene_pixels=1536, grid_points=256, hours=48)


def make_samples(folder: Path, size: SampleSize = FULL, report: Callable[[str], None] = lambda _: None) -> Path:
    """Make the samples in a subfolder of `folder`, unless they are there, and return that subfolder.

    It holds `scene.tif` and `weather.zarr`. It appears complete or not at all. `report` is told what comes next.
    """
    name = f"samples-{_RECIPE}-{size.scene_pixels}-{size.grid_points}x{size.hours}"
    done = folder / name
    if done.is_dir():
        return done
    making = folder / f"{name}.{os.getpid()}.partial"
    making.mkdir(parents=True)
    try:
        rng = np.random.default_rng(_SEED)
        report("raising the land")
        height = fractal(size.scene_pixels, rng)
        report("writing the image")
        write_scene(making / SCENE, height, rng)
        report("writing the weather")
        step = size.scene_pixels // size.grid_points
        write_weather(making / WEATHER, height[::step, ::step][: size.grid_points, : size.grid_points], size.hours, rng)
        _publish(making, done)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return done


def _publish(making: Path, done: Path) -> None:
    try:
        making.rename(done)
    except OSError:
        # Another program was quicker; its folder is as good as ours.
        if not done.is_dir():
            raise


def fractal(pixels: int, rng: np.random.Generator) -> Floats:
    """Fractal noise of `pixels` × `pixels` numbers from 0 to 1: random phases, amplitude 1/f². Its edges join."""
    across = np.fft.rfftfreq(pixels).astype(np.float32)[np.newaxis, :]
    down = np.fft.fftfreq(pixels).astype(np.float32)[:, np.newaxis]
    frequency = np.hypot(across, down)
    frequency[0, 0] = 1
    phase = rng.random(frequency.shape, dtype=np.float32) * np.float32(2 * np.pi)
    spectrum = np.empty(frequency.shape, np.complex64)
    np.cos(phase, out=spectrum.real)
    np.sin(phase, out=spectrum.imag)
    spectrum /= np.square(frequency)
    spectrum[0, 0] = 0
    surface: Floats = np.fft.irfft2(spectrum, s=(pixels, pixels)).astype(np.float32, copy=False)
    surface -= surface.min()
    surface /= surface.max()
    return surface


def write_scene(path: Path, height: Floats, rng: np.random.Generator) -> None:
    """An RGB image of this land as a COG: 512² tiles, Deflate, overviews, 10 m a pixel."""
    import rasterio

    pixels = len(height)
    light = _hillshade(height)
    grain = rng.integers(-5, 6, size=height.shape, dtype=np.int8)
    scale = np.linspace(0, 1, 256)
    level = (height * 255).astype(np.uint8)
    with rasterio.open(
        path,
        "w",
        driver="COG",
        width=pixels,
        height=pixels,
        count=3,
        dtype="uint8",
        crs="EPSG:32632",
        transform=rasterio.Affine(10, 0, 500_000, 0, -10, 5_200_000),
        compress="DEFLATE",
        level=1,
        predictor="YES",
        blocksize=_BLOCK_PIXELS,
        overview_resampling="average",
        num_threads="ALL_CPUS",
        photometric="RGB",
    ) as scene:
        for band in range(3):
            ramp = np.interp(scale, _COLOUR_HEIGHTS, [colour[band] for colour in _COLOURS]).astype(np.float32)
            tinted = ramp[level] * light
            tinted += np.roll(grain, 7 * band, axis=1)
            scene.write(np.clip(tinted, 0, 255, out=tinted).astype(np.uint8), band + 1)


def _hillshade(height: Floats) -> Floats:
    """The light that falls on each pixel from the upper left; water is nearly flat."""
    slope = np.diff(height, axis=0, append=height[-1:])
    slope += np.diff(height, axis=1, append=height[:, -1:])
    slope *= np.float32(0.12 * len(height))
    slope[height < _SEA_LEVEL] *= np.float32(0.15)
    light: Floats = np.float32(0.8) - slope
    return np.clip(light, 0.25, 1.15, out=light)


def write_weather(path: Path, height: Floats, hours: int, rng: np.random.Generator) -> None:
    """A Zarr v3 group with hourly air temperature in °C (time, y, x), once in plain chunks and once in shards."""
    import zarr

    temperature = _temperature(height, hours, rng)
    group = zarr.open_group(str(path), mode="w-", zarr_format=3)
    points = len(height)
    layouts: dict[str, dict[str, Any]] = {
        PLAIN: {"chunks": (12, 128, 128)},
        SHARDED: {"chunks": (12, 64, 64), "shards": (48, points // 2, points // 2)},
    }
    for name, layout in layouts.items():
        array = group.create_array(
            name,
            shape=temperature.shape,
            dtype="float32",
            dimension_names=("time", "y", "x"),
            attributes={"units": "degree_Celsius", "standard_name": "air_temperature"},
            **layout,
        )
        array[:] = temperature
    with warnings.catch_warnings():
        # zarr says that consolidated metadata is no part of the v3 specification yet; its readers use it all the same.
        warnings.simplefilter("ignore", category=zarr.errors.ZarrUserWarning)
        zarr.consolidate_metadata(str(path), zarr_format=3)


def _temperature(height: Floats, hours: int, rng: np.random.Generator) -> Floats:
    """Warm by day, cold on heights, with a front that drifts across; rounded to 2⁻⁶ of its size as archives do."""
    hour = np.arange(hours, dtype=np.float32)
    day = 4 * np.sin(2 * np.pi * (hour - 9) / 24)
    front = 12 * fractal(len(height), rng)
    fine = rng.normal(0, 0.2, size=(hours, *height.shape)).astype(np.float32)
    ground = 22 - 30 * np.maximum(height - np.float32(_SEA_LEVEL), 0)
    for index in range(hours):
        fine[index] += ground + day[index] + np.roll(front, 3 * index, axis=1)
    # Keeping 12 of 23 bits of the mantissa leaves noise out of the archive, and lets it compress.
    bits = fine.view(np.uint32)
    bits &= np.uint32(0xFFFFF800)
    return fine
