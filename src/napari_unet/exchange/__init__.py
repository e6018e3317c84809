"""Floor 4: models that go out to other programs, and models of others that come in."""
