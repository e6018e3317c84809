"""The Denoise dock: images that are made of images."""
