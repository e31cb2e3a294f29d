r"""What a stream looks like in the end: `\r` moves back, and what follows overwrites its line."""


def write(lines: list[str], text: str) -> None:
    r"""Add text to a stream as a terminal would: what follows `\r` overwrites its line.

    tqdm writes one refresh after another that way; kept apart they made most of a notebook.
    The last item of `lines` is the line that is not finished yet.
    """
    parts = (lines.pop() + text).split("\n")
    for part in parts[:-1]:
        lines.append(part.rstrip("\r").rsplit("\r", 1)[-1] + "\n")
    tail = parts[-1]
    if tail.endswith("\r"):
        # Whether it erases the line depends on the next character: `\r\n` is a line's end.
        lines.append(tail.rstrip("\r").rsplit("\r", 1)[-1] + "\r")
    else:
        lines.append(tail.rsplit("\r", 1)[-1])


def squeeze(text: str) -> str:
    r"""Return the shortest text that writes the same, whatever was written before it.

    Of the refreshes of one line the last is left, with the `\r` that erases what stands there.
    """
    if "\r" not in text:
        return text
    parts = text.split("\n")
    return "\n".join([*map(_finished, parts[:-1]), _open(parts[-1])])


def is_refresh(text: str) -> bool:
    r"""Say whether a text leaves a line that is about to be overwritten: a progress bar."""
    return "\r" in text[text.rfind("\n") + 1 :]


def _finished(line: str) -> str:
    return _last(line.rstrip("\r"))


def _open(line: str) -> str:
    return _last(line.rstrip("\r")) + "\r" if line.endswith("\r") else _last(line)


def _last(line: str) -> str:
    before, erases, last = line.rpartition("\r")
    return erases + last if before or erases else line
