"""One notebook for every rule that breaks it, and one beside it that does not."""

import json
from pathlib import Path

import pytest

from nbprod.notebook.checks import Finding, check, check_file
from nbprod.notebook.rules import RULES
from nbprod.notebook.template import load_template
from tests.notebook.conftest import FRONT_MATTER, GOOD, PARAMETERS, CellSpec, MakeNotebook

Found = tuple[str, int | None, int | None, str]  # code, cell, line, message


def code(source: str) -> list[CellSpec]:
    """Return the good template with one more cell at its end."""
    return [*GOOD, ("code", source)]


def parameters(source: str) -> list[CellSpec]:
    """Return the good template with more lines in its parameters cell."""
    return [*GOOD[:2], ("code", f"{PARAMETERS}\n{source}", ["parameters"]), GOOD[3]]


def front(source: str) -> list[CellSpec]:
    """Return the good template with other front matter."""
    return [("raw", f"---\n{source}\n---"), *GOOD[1:]]


BROKEN: list[tuple[list[CellSpec], Found]] = [
    (
        [GOOD[0], ("code", PARAMETERS), GOOD[3]],
        ("NB001", None, None, "No code cell has the tag `parameters`."),
    ),
    (
        code("import nbprod as p\np.glue('row', 1)"),
        ("NB002", 4, 2, "Scrap 'row' is glued, and `scraps` does not declare it. "
         "Did you mean 'rows'?"),
    ),
    (
        code("import scrapbook as sb\nsb.glue(name='extra', data=1)"),
        ("NB002", 4, 2, "Scrap 'extra' is glued, and `scraps` does not declare it."),
    ),
    (code("open('/home/anna/x.csv')"),
     ("NB003", 4, 1, "'/home/anna/x.csv' is an absolute path.")),
    (code("a = 1\nopen('C:\\\\data\\\\x.csv')"),
     ("NB003", 4, 2, "'C:\\\\data\\\\x.csv' is an absolute path.")),
    (code("p = '~/models'"), ("NB003", 4, 1, "'~/models' is an absolute path.")),
    (code("p = f'/data/{rows}.csv'"), ("NB003", 4, 1, "'/data/' is an absolute path.")),
    (parameters("data: str = '/foo/x.csv'  # what to read"),
     ("NB003", 2, 3, "'/foo/x.csv' is an absolute path.")),
    (
        [*GOOD[:2], ("code", "rows: int = 3  # how many", ["parameters"]), GOOD[3],
         ("code", "\nfrom numpy.random import rand\nrand()")],
        ("NB005", 4, 2, "numpy.random is imported, and there is neither a parameter `seed` nor a "
         "call that sets one."),
    ),
    (
        [*GOOD[:2], GOOD[3], ("code", PARAMETERS, ["parameters"])],
        ("NB006", 2, 3, "'rows' is used here, and defined only in cell 4."),
    ),
    (code("print(nowhere)"), ("NB006", 4, 1, "'nowhere' is used here, and defined nowhere.")),
    (code("print(late)\nlate = 1"),
     ("NB006", 4, 1, "'late' is used here before the line that defines it.")),
    (front("title: X\nkind: explore\nscraps: {rows: integer}\nxylophone: 1"),
     ("NB007", 0, 5, "There is no front-matter key 'xylophone'. Known keys: title, description, "
      "kind, resources, scraps, outputs, report.")),
    (front("title: X\nkind: explore\nscraps: {rows: integer, more: {required: true}}"),
     ("NB008", 0, None, "Scrap 'more' is required, and no cell glues it.")),
    (GOOD[1:], ("NB009", None, None, "The first cell is no raw cell of YAML between two lines of "
                "---.")),
    ([("markdown", FRONT_MATTER), *GOOD[1:]],
     ("NB009", 0, None, "This looks like front matter, which must be the first cell, of type "
      "raw.")),
    (front("kind: explore\nscraps: {rows: integer}"),
     ("NB009", 0, None, "The front matter has no title.")),
    (front("title: X\nscraps: {rows: integer}"),
     ("NB009", 0, None, "The front matter has no kind.")),
    (parameters("a = 1  # help"), ("NB010", 2, 3, "Parameter 'a' has no annotation.")),
    (parameters("a: 'pd.DataFrame' = None  # help"),
     ("NB010", 2, 3, "The annotation \"'pd.DataFrame'\" of parameter 'a' is not understood by "
      "reading alone.")),
    (parameters("a: int = 1"), ("NB011", 2, 3, "Parameter 'a' has no comment behind it.")),
    (parameters("a: int = 'x'  # help"),
     ("NB012", 2, 3, "The default of parameter 'a' is 'x'; it takes a whole number.")),
    (parameters("a: int = None  # help"),
     ("NB012", 2, 3, "The default of parameter 'a' is None; it takes a whole number.")),
    (parameters("a: int = int('3')  # help"),
     ("NB013", 2, 3, "The default of parameter 'a' is computed.")),
    (parameters("print(rows)"),
     ("NB014", 2, 3, "This statement is neither an import nor a parameter.")),
    (code("rows = 5"), ("NB015", 4, 1, "Parameter 'rows' is set to a fixed value here.")),
    (code("a = 1\nb = ("), ("NB016", 4, 2, "It is not Python: '(' was never closed.")),
    (parameters("api_key: str = 'sk-12345'  # of the service"),
     ("NB017", 2, 3, "Parameter 'api_key' has a credential as its default.")),
    ([*GOOD, ("code", "a = 1", ["parameters"])],
     ("NB018", 4, None, "This cell, too, has the tag `parameters`.")),
]  # fmt: skip


def findings(path: Path) -> list[Found]:
    return [(one.code, one.cell, one.line, one.message) for one in check_file(path)]


def test_a_good_template_has_no_finding(make_notebook: MakeNotebook) -> None:
    assert check(load_template(make_notebook(GOOD))) == []


@pytest.mark.parametrize(("cells", "expected"), BROKEN, ids=lambda one: one[0] if one else "")
def test_a_rule_finds_what_breaks_it_and_nothing_else(
    make_notebook: MakeNotebook, cells: list[CellSpec], expected: Found
) -> None:
    assert findings(make_notebook(cells)) == [expected]


def test_outputs_that_were_committed_are_found(make_notebook: MakeNotebook) -> None:
    path = make_notebook(GOOD)
    notebook = json.loads(path.read_text())
    text = {"output_type": "stream", "name": "stdout", "text": "3"}
    notebook["cells"][2]["outputs"] = [text]
    notebook["cells"][3]["outputs"] = [text, text]
    path.write_text(json.dumps(notebook))

    assert findings(path) == [
        ("NB004", 2, None, "1 output is saved with the cell."),
        ("NB004", 3, None, "2 outputs are saved with the cell."),
    ]


def test_execution_counts_tell_in_which_order_cells_were_run(make_notebook: MakeNotebook) -> None:
    path = make_notebook(code("a = 1"))
    notebook = json.loads(path.read_text())
    for index, count in [(2, 7), (3, 3), (4, 9)]:
        notebook["cells"][index]["execution_count"] = count
    path.write_text(json.dumps(notebook))

    assert findings(path) == [
        ("NB006", 3, None, "It was last run as [3], before cell 3 above it as [7].")
    ]


@pytest.mark.parametrize(
    "source",
    [
        "open('/')",
        "route = '/api/v1/items'",
        "null = '/dev/null'",
        "'/home/anna is where this came from'",
        "def f():\n    '/home/anna/x.csv'",
        "part = f'{rows}/data/x.csv'",
        "ratio = 'a/b'",
        "import nbprod\nnbprod.path('data/x.csv')",
        "when = '12:30'",
        "names = [name for name in 'abc']\nnames",
        "rows = rows + 1",
        "%load_ext autoreload\nfiles = !ls\nprint(files)",
        "import numpy as np\nnp.random.default_rng(seed)",
        "from math import *\nprint(sin(1))",
        "def later():\n    return unknown_until_called",
        "import nbprod\nfor name in ['rows']:\n    nbprod.glue(name, 1)",
        "try:\n    import torch\nexcept ImportError:\n    torch = None\ntorch",
        "%%bash\necho $HOME | cat > /tmp/x.txt",
    ],
)
def test_ordinary_code_is_left_alone(make_notebook: MakeNotebook, source: str) -> None:
    assert findings(make_notebook(code(source))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import random\nrandom.seed(1)",
        "import numpy as np\nnp.random.default_rng(3)",
        "import torch\ntorch.manual_seed(1)",
        "from transformers import set_seed\nset_seed(1)",
        "from sklearn.linear_model import SGDClassifier\nSGDClassifier(random_state=0)",
    ],
)
def test_a_seed_that_is_set_in_the_code_is_a_seed(make_notebook: MakeNotebook, source: str) -> None:
    cells: list[CellSpec] = [
        GOOD[0],
        ("code", "rows: int = 3  # how many", ["parameters"]),
        GOOD[3],
        ("code", source),
    ]

    assert findings(make_notebook(cells)) == []


@pytest.mark.parametrize(
    "source",
    [
        "import numpy as np\nnp.random.default_rng()",
        "import random",
        "import torch.nn as nn",
        "from sklearn import linear_model",
        "from nbprod.ml import training",
    ],
)
def test_randomness_without_a_seed_is_found(make_notebook: MakeNotebook, source: str) -> None:
    cells: list[CellSpec] = [
        GOOD[0],
        ("code", "rows: int = 3  # how many", ["parameters"]),
        GOOD[3],
        ("code", source),
    ]

    assert [one[0] for one in findings(make_notebook(cells))] == ["NB005"]


def test_a_parameter_without_default_is_defined_by_the_run(make_notebook: MakeNotebook) -> None:
    cells = [*parameters("model: str  # what to open"), ("code", "print(model)")]

    assert findings(make_notebook(cells)) == []


def test_a_rule_is_set_aside_where_the_author_says_so(make_notebook: MakeNotebook) -> None:
    cells = code("open('/home/a/x')  # nbprod: ignore[NB003, NB006]\nprint(nowhere)\nrows = 1")

    assert [one[0] for one in findings(make_notebook(cells))] == ["NB015"]


def test_the_remark_counts_only_as_a_comment(make_notebook: MakeNotebook) -> None:
    cells = code("a = '# nbprod: ignore[NB003]'\nopen('/home/a/x')")

    assert [one[0] for one in findings(make_notebook(cells))] == ["NB003"]


def test_a_misspelt_key_is_a_finding_although_the_template_cannot_run(
    make_notebook: MakeNotebook,
) -> None:
    path = make_notebook(front("title: X\nresorces: {gpus: 1}"))

    assert check_file(path) == [
        Finding(
            code="NB007",
            title="unknown front-matter key",
            message="count.ipynb, cell 1, line 3: there is no key 'resorces' here. "
            "Did you mean 'resources'?",
            why=RULES["NB007"].why,
            cell=0,
            line=3,
        )
    ]


def test_a_file_that_cannot_be_read_is_one_finding(make_notebook: MakeNotebook) -> None:
    path = make_notebook(GOOD)
    path.write_text("{")

    assert check_file(path) == [
        Finding(
            code="NB000",
            title="cannot be read",
            message="count.ipynb: line 1: it is not JSON: Expecting property name enclosed in "
            "double quotes.",
            why="A notebook is a JSON file; this one was cut off, merged or edited by hand.",
        )
    ]


def test_findings_come_from_the_top_of_the_page_down(make_notebook: MakeNotebook) -> None:
    cells = [("code", "a = 1", ["parameters"]), ("code", "open('/tmp/x')\nprint(b)")]

    found = check_file(make_notebook(cells))

    assert [(one.code, one.place) for one in found] == [
        ("NB009", ""),
        ("NB010", "cell 1, line 1"),
        ("NB011", "cell 1, line 1"),
        ("NB003", "cell 2, line 1"),
        ("NB006", "cell 2, line 2"),
    ]


def test_every_rule_is_broken_by_some_notebook_here() -> None:
    broken = {expected[0] for _, expected in BROKEN} | {"NB004"}

    assert broken == RULES.keys()


def test_every_rule_says_why() -> None:
    assert [code for code, rule in RULES.items() if not rule.why.endswith(".")] == []
    assert list(RULES) == sorted(RULES)
