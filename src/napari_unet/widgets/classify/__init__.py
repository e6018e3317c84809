"""The Classify objects dock: classes of finished objects, by a few that are clicked."""
