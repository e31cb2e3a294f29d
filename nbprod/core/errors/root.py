"""The root of every error nbprod raises on purpose."""


class NbprodError(Exception):
    """Base of every error nbprod raises on purpose: what happened, why, what to do.

    Subclasses set `what`, `why` and `do` in `__init__` and pass their own arguments to
    `super().__init__`, from which pickle rebuilds them on the other side of a process border.
    """

    what = "nbprod failed."
    why = ""
    do = ""  #: its last line is, or ends in, a command one can paste

    def __str__(self) -> str:
        """Return the three parts, a line each."""
        return "\n".join(part for part in (self.what, self.why, self.do) if part)
