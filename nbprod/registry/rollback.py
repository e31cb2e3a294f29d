"""Which versions held an alias before: pure, from the record of decisions."""

from collections.abc import Iterable

from nbprod.core.models import Promotion


def former_holders(decisions: Iterable[Promotion], alias: str) -> list[int]:
    """Return the versions to roll back to, nearest first, given decisions oldest first.

    A promotion puts a version on top of the stack and a rollback takes off what it left, so
    that rolling back twice goes two promotions back and never to and fro.
    """
    stack: list[int] = []
    for decision in decisions:
        if decision.alias != alias:
            continue
        if decision.action == "promote":
            stack.append(decision.version)
        elif decision.action == "rollback":
            stack.pop()
            while stack and stack[-1] != decision.version:
                stack.pop()
    return stack[-2::-1]
