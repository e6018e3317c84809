"""Floor 3: from painted labels to a trained network."""
