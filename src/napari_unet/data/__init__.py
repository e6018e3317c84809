"""Floor 1: images, labels and weights as plain arrays; numpy and scipy only, no torch, no Qt."""
