"""Lines for whoever started the command; what is for the log goes to ``logs``."""

import sys


def say(words: str) -> None:
    """One line on standard error, whatever the text contains."""
    sys.stderr.write(f"och: {' '.join(words.split())}\n")
    sys.stderr.flush()
