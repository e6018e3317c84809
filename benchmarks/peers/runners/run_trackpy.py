"""Link objects with trackpy, by distance: alone, and predicted by the velocity of neighbours."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import trackpy
from scipy import ndimage as ndi
from trackpy.predict import NearestVelocityPredict

# Pixels: cells are about 15 wide and 40 long.
_FARTHEST = 30


def main() -> None:
    """Write the links of both ways. trackpy knows no divisions."""
    folder = Path(sys.argv[1])
    trackpy.quiet()
    places = places_of(np.load(folder / "movie.npz")["labels"])
    found = {
        "by distance": links(trackpy.link(places, _FARTHEST)),
        "by velocity": links(NearestVelocityPredict().link_df(places, _FARTHEST)),
    }
    answer = {"links": found, "versions": {"trackpy": version("trackpy")}}
    (folder / "links.json").write_text(json.dumps(answer), encoding="utf-8")


def places_of(movie: Any) -> Any:
    """Return a table of the middles of all objects."""
    rows = []
    for frame, labels in enumerate(movie):
        numbers = np.unique(labels[labels > 0])
        middles = ndi.center_of_mass(labels > 0, labels, numbers)
        rows += [(frame, number, y, x) for number, (y, x) in zip(numbers, middles, strict=True)]
    return pd.DataFrame(rows, columns=["frame", "label", "y", "x"])


def links(tracks: Any) -> list[list[int]]:
    """Return (frame, number, number in the next frame) of the tracks."""
    found = []
    for _, rows in tracks.sort_values("frame").groupby("particle"):
        places = zip(rows["frame"], rows["label"], strict=True)
        found += [[*a, b[1]] for a, b in pairwise(places) if b[0] == a[0] + 1]
    return [[int(number) for number in link] for link in found]


if __name__ == "__main__":
    main()
