"""`python -m scalemark` is the command `scalemark`."""

from scalemark.cli import app

if __name__ == "__main__":
    app()
