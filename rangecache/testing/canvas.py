"""A sheet of pixels to draw on, and a PNG at the end; no more than the demo's picture needs."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rangecache.testing.lettering import letters

if TYPE_CHECKING:
    from pathlib import Path

Colour = tuple[int, int, int]
Pixels = npt.NDArray[np.uint8]
"""Shape (rows, columns, 3): red, green, blue."""


class Canvas:
    """Places are x to the right and y down, in pixels; what lies outside is cut off."""

    def __init__(self, width: int, height: int, ground: Colour) -> None:
        self.pixels: Pixels = np.empty((height, width, 3), np.uint8)
        self.pixels[:] = ground

    def fill(self, x: int, y: int, width: int, height: int, colour: Colour) -> None:
        """A filled rectangle."""
        self.pixels[y : y + height, x : x + width] = colour

    def outline(self, x: int, y: int, width: int, height: int, colour: Colour) -> None:
        """The border of a rectangle, two pixels thick, inside it."""
        for x0, y0, w, h in (
            (x, y, width, 2),
            (x, y + height - 2, width, 2),
            (x, y, 2, height),
            (x + width - 2, y, 2, height),
        ):
            self.fill(x0, y0, w, h, colour)

    def paste(self, image: Pixels, x: int, y: int) -> None:
        """An image with its upper left corner at this place."""
        room = self.pixels[y : y + image.shape[0], x : x + image.shape[1]]
        room[:] = image[: room.shape[0], : room.shape[1]]

    def write(self, text: str, x: int, y: int, colour: Colour, scale: int = 2) -> int:
        """A line of text from this upper left corner; returns where the next letter would stand."""
        ink = letters(text, scale)
        room = self.pixels[y : y + ink.shape[0], x : x + ink.shape[1]]
        room[ink[: room.shape[0], : room.shape[1]]] = colour
        return x + int(ink.shape[1])

    def curve(self, ys: npt.NDArray[np.intp], x: int, colour: Colour) -> None:
        """A line through (x, ys[0]), (x + 1, ys[1]), …, joined where it is steep."""
        for step in range(len(ys) - 1):
            low, high = sorted((int(ys[step]), int(ys[step + 1])))
            self.pixels[low : high + 2, x + step] = colour

    def save(self, path: Path) -> None:
        """As a PNG file."""
        import rasterio

        height, width, _ = self.pixels.shape
        with warnings.catch_warnings():
            # A picture lies nowhere on Earth, and rasterio warns of that.
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            profile = {"driver": "PNG", "width": width, "height": height, "count": 3, "dtype": "uint8", "zlevel": 9}
            with rasterio.open(path, "w", **profile) as file:
                file.write(np.moveaxis(self.pixels, 2, 0))


def resized(image: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[Any]:
    """The first two axes taken at `height` × `width` evenly spaced places."""
    rows = (np.arange(height) * image.shape[0]) // height
    columns = (np.arange(width) * image.shape[1]) // width
    taken: npt.NDArray[Any] = image[rows[:, np.newaxis], columns]
    return taken
