"""Floor 3: from a trained network and an image to objects, classes or probabilities."""
