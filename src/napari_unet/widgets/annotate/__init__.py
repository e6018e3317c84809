"""The Annotate dock."""
