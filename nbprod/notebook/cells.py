"""Read the code of a cell as Python, IPython's magics set aside. Nothing is executed."""

import ast
import re
import warnings

#: Cell magics whose body is Python that runs in the notebook's own namespace.
_PYTHON_MAGICS = ("%%time", "%%timeit", "%%capture", "%%prun", "%%snakeviz")
_ASSIGNED = re.compile(r"(\s*)([A-Za-z_]\w*(?:\s*,\s*[A-Za-z_]\w*)*)\s*=\s*[%!]")
_CAPTURED = re.compile(r"%%capture\s+(?:--\S+\s+)*([A-Za-z_]\w*)")


def plain_python(source: str) -> str | None:
    """Return `source` with every magic replaced, line by line; None for another language.

    Lines keep their numbers. A cell such as `%%bash` or `%%html` holds no Python.
    """
    lines = source.split("\n")
    first = next((n for n, line in enumerate(lines) if line.strip()), 0)
    if lines[first].startswith("%%"):
        if not lines[first].startswith(_PYTHON_MAGICS):
            return None
        captured = _CAPTURED.match(lines[first])
        lines[first] = f"{captured[1]} = None" if captured else ""
    if _parses("\n".join(lines)):
        return "\n".join(lines)
    return "\n".join(_without_magic(line) for line in lines)


def parse(source: str) -> ast.Module | None:
    """Return the cell's syntax tree; None where it holds another language.

    Raises:
        SyntaxError: with the line of the cell, from 1.
    """
    text = plain_python(source)
    return None if text is None else _compile(text)


def _without_magic(line: str) -> str:
    bare = line.strip()
    indent = line[: len(line) - len(line.lstrip())]
    assigned = _ASSIGNED.match(line)
    if assigned:
        return f"{indent}{assigned[2]} = None" if "," not in assigned[2] else f"{indent}pass"
    if bare.startswith(("%", "!", "?")) or (bare.endswith("?") and "#" not in bare):
        return f"{indent}pass"
    return line


def _parses(text: str) -> bool:
    try:
        _compile(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _compile(text: str) -> ast.Module:
    # `await` at the top level is fine in a notebook; "\d" in a string is a warning, not ours.
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = compile(text, "<cell>", "exec", flags, dont_inherit=True)
        except (RecursionError, MemoryError) as error:
            raise SyntaxError("it is nested too deeply") from error
        except ValueError as error:  # a null byte, or a lone surrogate
            raise SyntaxError(str(error)) from error
    assert isinstance(tree, ast.Module)
    return tree
