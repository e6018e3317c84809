"""One dock with the whole loop: paint, train, look, correct, measure."""
