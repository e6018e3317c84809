"""What is kept between sessions: project folders, saved models and crash recovery; no torch."""
