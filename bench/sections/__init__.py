"""One file a section, in the order of the report."""

from bench.figures import Section
from bench.sections import (
    beside,
    clones,
    discard,
    fork,
    idle,
    many_pushes,
    memory,
    pages,
    push_commit,
    push_project,
    refs,
    simultaneous,
    subscriptions,
    sustained,
)

ALL: tuple[Section, ...] = (
    idle.SECTION,
    refs.SECTION,
    clones.SECTION,
    discard.SECTION,
    simultaneous.SECTION,
    push_project.SECTION,
    push_commit.SECTION,
    memory.SECTION,
    beside.SECTION,
    fork.SECTION,
    pages.SECTION,
    subscriptions.SECTION,
    sustained.SECTION,
    many_pushes.SECTION,
)
