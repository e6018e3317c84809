"""Floor 2: annotations and objects in the files of other programs. Nothing that is read is run."""
