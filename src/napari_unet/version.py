"""The version of this program: at the bottom of the house, for what is written into files."""

__version__ = "0.1.0"
