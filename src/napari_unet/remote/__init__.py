"""Work on another machine: what is sent there, what is done there, and how it is followed."""
