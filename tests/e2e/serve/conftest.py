"""The hub as its operator meets it: one command, its processes, its answers, its errors."""

from tests.support.hub import hub

__all__ = ["hub"]
