"""Run cards: what was run, with which settings on which pixels; and doing it again."""
