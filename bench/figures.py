"""What is measured, and what came out: the rows of the report."""

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.workbench import Workbench


@dataclasses.dataclass(frozen=True)
class Item:
    """One row. ``limit`` is the most it may be, None where the figure is only told."""

    key: str
    text: str
    limit: float | None
    unit: str = ""

    @property
    def is_ratio(self) -> bool:
        return not self.unit


@dataclasses.dataclass(frozen=True)
class Series:
    """All single values behind a figure, of one side."""

    name: str
    values: Sequence[float]
    unit: str = "s"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """``value`` is compared with the limit; ``why`` says in a sentence what makes it up.

    ``two_sided``: the first series is the hub's, the second plain git's.
    """

    value: float
    series: Sequence[Series]
    why: str
    two_sided: bool = False


@dataclasses.dataclass
class Record:
    """The outcomes of a section; a reason instead for what could not be measured."""

    items: Sequence[Item]
    outcomes: dict[str, Outcome] = dataclasses.field(default_factory=dict)
    reasons: dict[str, str] = dataclasses.field(default_factory=dict)

    def put(
        self,
        key: str,
        value: float,
        series: Sequence[Series],
        why: str,
        *,
        two_sided: bool = False,
    ) -> None:
        assert key in {item.key for item in self.items}, key
        self.outcomes[key] = Outcome(value, series, why, two_sided)

    def ratio(self, key: str, hub: Series, baseline: Series, why: str, *more: Series) -> None:
        """Median of the hub's values by median of the baseline's."""
        value = median(hub.values) / median(baseline.values)
        self.put(key, value, [hub, baseline, *more], why, two_sided=True)

    def unavailable(self, reason: str, *keys: str) -> None:
        """Say why these (or else all that are open) have no figure."""
        for key in keys or [item.key for item in self.items]:
            if key not in self.outcomes:
                self.reasons.setdefault(key, reason)

    def replace(self, old: str, new: str) -> None:
        """Say something else wherever a text of this record says ``old``."""
        self.reasons = {key: reason.replace(old, new) for key, reason in self.reasons.items()}
        self.outcomes = {
            key: dataclasses.replace(outcome, why=outcome.why.replace(old, new))
            for key, outcome in self.outcomes.items()
        }


@dataclasses.dataclass(frozen=True)
class Section:
    """``measure`` fills the record; what it raises is the reason for every item still open."""

    name: str
    title: str
    items: Sequence[Item]
    measure: Callable[["Workbench", Record], None]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)
