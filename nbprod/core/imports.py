"""Go without libraries that take longer to import than the work they are imported for."""

import sys

#: jsonschema loads these to check formats that notebooks do not have: international addresses
#: (1.1 s of CPU where JupyterLab brings it) and ISO durations. It goes without either one.
SCHEMA_FORMATS = ("rfc3987_syntax", "isoduration")


def leave_out(*names: str) -> None:
    """Make this process go without the modules `names`, unless they are loaded already.

    Only for a process that is ours alone: afterwards nothing in it can import them.
    """
    for name in names:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None blocks an import
