"""Floor 1: scores of predictions against truth; numpy, scipy and scikit-image only."""
