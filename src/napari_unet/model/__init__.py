"""Floor 2: the network, the trained network with its record and file, and devices."""
