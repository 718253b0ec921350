"""One real hub, met over its two doors only: bytes in, bytes and exit codes out."""

from tests.support.hostile_world import clone, door, fresh, http, others_are_served, ssh, world
from tests.support.hub import hub

__all__ = ["clone", "door", "fresh", "http", "hub", "others_are_served", "ssh", "world"]
