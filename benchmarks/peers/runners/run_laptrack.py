"""Link objects with laptrack: by overlap of masks, and by distance of middles."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from laptrack import LapTrack, OverLapTrack
from skimage.measure import regionprops_table

# Pixels: cells are about 15 wide and 40 long. Costs are squares of distances.
_FARTHEST = 30.0


def main() -> None:
    """Write the links of both ways."""
    folder = Path(sys.argv[1])
    movie = np.load(folder / "movie.npz")["labels"]
    found = {"by overlap": by_overlap(movie), "by distance": by_distance(movie)}
    answer = {"links": found, "versions": {"laptrack": version("laptrack")}}
    (folder / "links.json").write_text(json.dumps(answer), encoding="utf-8")


def by_overlap(movie: Any) -> list[list[int]]:
    """Link by overlap, with the cutoffs of the example in its documentation."""
    tracker = OverLapTrack(cutoff=0.9, splitting_cutoff=0.9, gap_closing_cutoff=False)
    tracks, splits, _ = tracker.predict_overlap_dataframe(list(movie))
    return links(tracks.reset_index(), splits)


def by_distance(movie: Any) -> list[list[int]]:
    """Link by distance, with divisions."""
    most = _FARTHEST**2
    tracker = LapTrack(cutoff=most, splitting_cutoff=most, gap_closing_cutoff=False)
    tables = [
        pd.DataFrame(regionprops_table(labels, properties=("label", "centroid"))).assign(frame=t)
        for t, labels in enumerate(movie)
    ]
    places = pd.concat(tables, ignore_index=True)
    columns = ["centroid-0", "centroid-1"]
    tracks, splits, _ = tracker.predict_dataframe(places, columns, only_coordinate_cols=False)
    tracks["frame"] = tracks["frame_y"] if "frame_y" in tracks else tracks["frame"]
    return links(tracks, splits)


def links(tracks: Any, splits: Any) -> list[list[int]]:
    """Return (frame, number, number in the next frame) of tracks and of their divisions."""
    found, first, last = [], {}, {}
    for track, rows in tracks.sort_values("frame").groupby("track_id"):
        places = list(zip(rows["frame"], rows["label"], strict=True))
        first[track], last[track] = places[0], places[-1]
        found += [(*a, b[1]) for a, b in pairwise(places) if b[0] == a[0] + 1]
    for split in splits.to_dict("records"):
        mother, daughter = last[split["parent_track_id"]], first[split["child_track_id"]]
        found.append((*mother, daughter[1]))
    return [[int(number) for number in link] for link in found]


if __name__ == "__main__":
    main()
