"""Real training runs on real text: the loss half of the suite."""
