import pytest

from nbprod.notebook.cells import parse
from nbprod.notebook.scopes import Scope, scope_of


def scope(source: str) -> Scope:
    tree = parse(source)
    assert tree is not None
    return scope_of(tree)


@pytest.mark.parametrize(
    ("source", "needs", "gives"),
    [
        ("a = 1\nb = a", set(), {"a", "b"}),
        ("b = a\na = 1", {"a"}, {"a", "b"}),
        ("x = x + 1", {"x"}, {"x"}),
        ("x += 1", {"x"}, {"x"}),
        ("x: int", set(), set()),
        ("x: T = 1", {"T"}, {"x"}),
        ("print(len([]), display, get_ipython())", set(), set()),
        ("import a.b, c as d\nfrom e import f, g as h", set(), {"a", "d", "f", "h"}),
        ("for i in rows:\n    use = i\nelse:\n    last = i", {"rows"}, {"i", "use", "last"}),
        ("with open(p) as f, g as (h, i):\n    f, h, i", {"p", "g"}, {"f", "h", "i"}),
        ("[x for x in xs if x in ys]", {"xs", "ys"}, set()),
        ("{k: v for k, v in d.items() for w in v}", {"d"}, set()),
        ("[y := x for x in xs]\ny", {"xs"}, {"y"}),
        ("def f(a=b, *, c=d):\n    return later", {"b", "d"}, {"f"}),
        ("@deco\ndef f(): pass", {"deco"}, {"f"}),
        ("lambda a, b=c: a + later", {"c"}, set()),
        ("class A(B, metaclass=M):\n    x = y\n    z = x", {"B", "M", "y"}, {"A"}),
        ("try:\n    a = 1\nexcept E as e:\n    e\nelse:\n    a", {"E"}, {"a", "e"}),
        ("match v:\n    case [x, *rest]: x, rest\n    case {'k': y, **more}: y, more\n"
         "    case A() as whole: whole", {"v", "A"}, {"x", "rest", "y", "more", "whole"}),
        ("def f():\n    global total\n    total = 1", set(), {"f", "total"}),
        ("del a", set(), set()),
        ("await task\nasync for x in stream: pass", {"task", "stream"}, {"x"}),
        ("f'{name!r:>{width}}'", {"name", "width"}, set()),
        ("%matplotlib inline\nfiles = !ls\nhelp?\na = files", set(), {"files", "a"}),
        ("%%time\na = b", {"b"}, {"a"}),
        ("%%capture shown\nprint(a)", {"a"}, {"shown"}),
    ],
)  # fmt: skip
def test_a_cell_needs_and_gives_names(source: str, needs: set[str], gives: set[str]) -> None:
    found = scope(source)

    assert (set(found.needs), found.gives) == (needs, gives)


def test_anything_may_come_from_a_star_import() -> None:
    assert scope("from math import *").has_star_import


@pytest.mark.parametrize("source", ["%%bash\nls $HOME", "%%html\n<b>", "\n%%writefile x.py\na ="])
def test_a_cell_in_another_language_holds_no_python(source: str) -> None:
    assert parse(source) is None
