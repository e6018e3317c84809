"""Floor 5: the Python interface: train, predict, save and load without a window."""
