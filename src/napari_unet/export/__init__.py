"""Floor 4: models written for other programs."""
