"""What memory a process has, told apart into its own and what it shares with its siblings."""

from pathlib import Path


def memory(pid: int) -> dict[str, int]:
    """Return bytes: `private` is what ending it gives back, `shared` the rest, `pss` its share.

    Empty for a process that is gone.
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    except OSError:
        return {}
    fields: dict[str, int] = {}
    for line in text.splitlines()[1:]:
        name, _, rest = line.partition(":")
        fields[name] = int(rest.split()[0]) * 1024
    private = fields["Private_Clean"] + fields["Private_Dirty"]
    return {
        "private_bytes": private,
        "shared_bytes": fields["Rss"] - private,
        "pss_bytes": fields["Pss"],
    }
