"""Floor 4: run cards and scripts that say how a result came about, and runs done again."""
