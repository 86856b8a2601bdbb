"""What it costs to train a language model as it grows, and what loss it reaches, on the machine in front of you."""

__version__ = "0.1.0"
