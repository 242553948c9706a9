"""Report values that a scrub replaced on a hub and that are still here, after a comparison."""

from __future__ import annotations

from localops import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from localops_sync.sinks.hub import Replaced

_DATE = len("2026-11-30")


def text(replaced: Collection[Replaced]) -> str:
    """Return what was replaced of these rows, when, and what to do."""
    rows = output.counted(len(replaced), "row")
    values = sum(each.values for each in replaced)
    is_known = all(each.values for each in replaced)
    what = f"{output.counted(values, 'value')} in {rows}" if is_known else f"values in {rows}"
    were, are = ("was", "is") if is_known and values == 1 else ("were", "are")
    return (
        f"{what} {were} replaced on the hub by {_scrubs(replaced)}, and {are} still here: to replace them here, too, "
        "put the hub's patterns into config.toml (`redact`) and run `localops scrub`"
    )


def _scrubs(replaced: Collection[Replaced]) -> str:
    days = sorted({output.when(each.at_ns)[:_DATE] for each in replaced})
    return f"a scrub on {days[0]}" if len(days) == 1 else f"scrubs from {days[0]} to {days[-1]}"


def lost_files(count: int) -> str:
    """Return that files which a scrub has made on the hub are missing or damaged there."""
    files, them = (
        ("file that a scrub has made on the hub is", "it")
        if count == 1
        else ("files that a scrub has made on the hub are", "them")
    )
    return (
        f"{count} {files} missing or damaged there, and not here: put the hub's patterns into config.toml (`redact`) "
        f"and run `localops scrub`, so that the next `localops sync --verify` sends {them}; or restore {them} from a "
        "backup of the hub"
    )
