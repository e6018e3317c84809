"""Floor 4: models of other programs, understood and made usable."""
