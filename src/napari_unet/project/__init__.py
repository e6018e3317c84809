"""Floor 3: what is kept between sessions: projects, models, recovery after a crash; no torch."""
