"""Floor 4: run cards, which tell what was run on which pixels, and doing it again."""
