"""Floor 1: single objects in label images: separated, stitched, linked, measured, corrected."""
