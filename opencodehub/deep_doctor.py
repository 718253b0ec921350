"""``och doctor --deep``: every manifest against the object store."""

from contextlib import aclosing
from typing import TextIO

from gitstore.verification import Finding, Severity, Verifier
from opencodehub import wiring
from opencodehub.doctor import as_fault
from opencodehub.settings import Settings


async def examine(settings: Settings, out: TextIO) -> int:
    """Print one line for each finding and one of counts. Returns 1 if there is any fault."""
    found = dict.fromkeys(Severity, 0)
    try:
        database = wiring.open_database(settings)
        try:
            store = wiring.open_object_store(settings)
            try:
                verifier = Verifier(database, store)
                async with aclosing(verifier.findings()) as findings:
                    async for finding in findings:
                        found[finding.severity] += 1
                        print(_line(finding), file=out, flush=True)
            finally:
                await store.close()
        finally:
            await database.close()
    except Exception as error:
        fault = as_fault(error)
        print(f"FAULT  deep: {fault}; cure: {fault.cure}", file=out, flush=True)
        return 1
    counts = verifier.counts
    faults, notes = found[Severity.FAULT], found[Severity.NOTE]
    print(
        f"{'FAULT' if faults else 'ok':<7}deep: repositories {counts.repositories}, "
        f"packs {counts.packs}, derived files {counts.derived}, objects {counts.objects}; "
        f"faults {faults}, notes {notes}",
        file=out,
        flush=True,
    )
    return 1 if faults else 0


def _line(finding: Finding) -> str:
    return f"{finding.severity.value:<7}{finding.subject}: {finding.words}; cure: {finding.cure}"
