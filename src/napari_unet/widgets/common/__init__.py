"""What several docks use."""
