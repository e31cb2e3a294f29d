"""The `nbprod` command: a thin client of the process that has everything imported.

Most of a command's time goes into imports. A resident process has done them; this one hands over
its arguments, variables, folder and standard streams, relays signals, and ends as the command
does. Whatever is in the way of that, the command runs here, as if there were no such process.

It imports next to nothing itself, and nothing of the command line until it has to.
"""

import os
import sys

#: The commands that are worth a resident process. The others are rare, or look after it.
SERVED = frozenset({"jobs", "models", "reports", "run", "runs", "templates"})


def main() -> None:
    """Run the command line, here or in a fork, and exit with its code."""
    if is_served(sys.argv[1:]):
        from nbprod.cli import thin

        code = thin.run(sys.argv[1:])
        if code is not None:
            # Nothing was written by this process: there is nothing to flush, or to take apart.
            os._exit(code)
    from nbprod.cli.main import main as run_here

    run_here()


def is_served(arguments: list[str]) -> bool:
    """Say whether a resident process may do this: it has the same interpreter, with no options."""
    return (
        sys.platform == "linux"
        and os.environ.get("NBPROD_WARM", "").lower() not in ("off", "0", "no", "false")
        and bool(arguments)
        and arguments[0] in SERVED
        and not sys.orig_argv[1].startswith("-")
    )


if __name__ == "__main__":
    main()
