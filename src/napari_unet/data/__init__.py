"""Floor 1: images, labels and weights as plain arrays; numpy, scipy, scikit-image alone."""
