from datetime import timedelta

import pytest

from nbprod.core.errors import FrontMatterError, UnknownKeyError
from nbprod.core.resources import Gpus, Resources
from nbprod.core.scraps import ScrapDeclaration, ScrapType
from nbprod.notebook.front_matter import (
    FrontMatter,
    Kind,
    ReportOptions,
    UnknownKey,
    is_front_matter,
    parse_front_matter,
)

WHERE = "templates/x.ipynb"


def test_everything_a_template_may_say_of_itself_is_read() -> None:
    source = """---
title: Fine-tune a text classifier
description: A model learns.
kind: finetune
resources: {gpus: {prefer: 1}, cpus: 2, memory: 8GB, timeout: 1h30m}   # one if there is one
scraps:
  macro_f1: {type: number, range: [0, 1], higher_is_better: true, required: true, unit: share}
  loss: {type: number, range: [0, null], higher_is_better: false, description: the last one}
  model: model
  anything:
outputs: {max_bytes: 1MB, max_count: none}
report: {title: "How well are definitions filed?", code: shown}
---"""

    found = parse_front_matter(source, where=WHERE)

    assert found == FrontMatter(
        is_present=True,
        title="Fine-tune a text classifier",
        description="A model learns.",
        kind=Kind.FINETUNE,
        resources=Resources(
            gpus=Gpus(required=0, preferred=1),
            cpus=2,
            memory_bytes=8_000_000_000,
            timeout=timedelta(minutes=90),
        ),
        scraps=(
            ScrapDeclaration(
                name="macro_f1",
                type=ScrapType.NUMBER,
                range=(0.0, 1.0),
                unit="share",
                higher_is_better=True,
                required=True,
            ),
            ScrapDeclaration(
                name="loss",
                type=ScrapType.NUMBER,
                range=(0.0, None),
                higher_is_better=False,
                description="the last one",
            ),
            ScrapDeclaration(name="model", type=ScrapType.MODEL),
            ScrapDeclaration(name="anything"),
        ),
        outputs={"max_bytes": 1_000_000, "max_count": None},
        report=ReportOptions(title="How well are definitions filed?", code="shown"),
    )


@pytest.mark.parametrize("source", ["---\n---", "---\n# nothing\n---", "\n---\n\n---\n"])
def test_empty_front_matter_is_front_matter(source: str) -> None:
    assert parse_front_matter(source, where=WHERE) == FrontMatter(is_present=True)


def test_keys_of_quarto_and_jupytext_are_left_to_them() -> None:
    source = "---\ntitle: X\nformat: html\njupyter: python3\nexecute: {echo: false}\n---"

    assert parse_front_matter(source, where=WHERE) == FrontMatter(is_present=True, title="X")


def test_a_key_of_nobody_is_remembered_for_check() -> None:
    found = parse_front_matter("---\ntitle: X\nxylophone: 1\n---", where=WHERE)

    assert found.unknown == (UnknownKey(name="xylophone", line=3),)


@pytest.mark.parametrize(
    ("source", "is_so"),
    [("---\ntitle: x\n---", True), ("\n--- \n", True), ("# a heading", False), ("", False),
     ("title: x", False), ("----\n", False)],
)  # fmt: skip
def test_front_matter_begins_with_three_dashes(source: str, is_so: bool) -> None:  # noqa: FBT001
    assert is_front_matter(source) is is_so


def test_a_misspelt_key_is_refused_because_it_would_silently_do_nothing() -> None:
    with pytest.raises(UnknownKeyError) as caught:
        parse_front_matter("---\ntitle: X\nresorces: {gpus: 1}\n---", where=WHERE)

    assert str(caught.value) == (
        "templates/x.ipynb, cell 1, line 3: there is no key 'resorces' here. "
        "Did you mean 'resources'?\n"
        "Known keys: title, description, kind, resources, scraps, outputs, report.\n"
        "Correct that cell, then check it with: nbprod templates check templates/x.ipynb"
    )


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("title: 3", "line 2: title is text, not 3."),
        ("- 1", "cell 1: the front matter is a mapping, such as `title: Explore texts`."),
        ("kind: fine", "line 2: kind is one of explore, baseline, finetune, evaluate, score, "
         "monitor, report, not 'fine'. Did you mean 'finetune'?"),
        ("resources: 3", "line 2: resources is a mapping, such as {gpus: 1, memory: 8GB, "
         "timeout: 2h}."),
        ("resources:\n  gpu: 1", "line 3: there is no resource 'gpu'. Did you mean 'gpus'?"),
        ("resources: {gpus: {need: 1}}", "line 2: gpus takes require and prefer, not 'need'."),
        ("resources: {gpus: -1}", "line 2: gpus is a whole number, not -1."),
        ("resources: {gpus: true}", "line 2: gpus is a whole number, not True."),
        ("resources: {memory: much}", "line 2: memory is a size such as 8GB or 512MiB, not "
         "'much'."),
        ("resources: {timeout: 2 weeks}", "line 2: timeout is a duration such as 2h, 90m or "
         "1h30m, not '2 weeks'."),
        ("scraps: [a]", "line 2: scraps is a mapping from names to what each is."),
        ("scraps:\n  a: [1]", "line 3: scrap 'a' is a mapping, such as {type: number, required: "
         "true}."),
        ("scraps:\n  a:\n    type: numbr", "line 4: the type of scrap 'a' is one of number, "
         "integer, text, boolean, json, frame, array, model, display, any, not 'numbr'. "
         "Did you mean 'number'?"),
        ("scraps:\n  a:\n    range: [1]", "line 4: the range of scrap 'a' is [low, high] with "
         "null for no bound, not [1]."),
        ("scraps:\n  a: {range: [x, 1]}", "line 3: the range of scrap 'a' is [low, high] with "
         "null for no bound, not ['x', 1]."),
        ("scraps:\n  a: {range: [2, 1]}", "line 3: the range of scrap 'a' ends at 1, below its "
         "start 2."),
        ("scraps:\n  a: {required: 1}", "line 3: required is true or false, not 1."),
        ("scraps:\n  a: {higher_is_better: up}", "line 3: higher_is_better is true or false, "
         "not 'up'."),
        ("outputs: few", "line 2: outputs is a mapping, such as "
         "{max_bytes: 1MB, max_count: 1000}."),
        ("outputs:\n  max_bytes: lots", "line 3: outputs.max_bytes is a size such as 1MB, or none, "
         "not 'lots'."),
        ("outputs: {max_count: 0}", "line 2: outputs.max_count is a whole number, or none, not 0."),
        ("outputs: {most: 1}", "line 2: outputs takes max_bytes and max_count, not 'most'."),
        ("report: nice", 'line 2: report is a mapping, such as {title: "...", code: hidden}.'),
        ("report: {code: gone}", "line 2: report.code is hidden or shown, not 'gone'."),
        ("title: [", "line 3: While parsing a flow node did not find expected node content."),
        ("title: a\ntitle: b", "line 3: The key 'title' stands twice."),
    ],
)  # fmt: skip
def test_malformed_front_matter_is_refused_with_cell_and_line(body: str, what: str) -> None:
    with pytest.raises(FrontMatterError) as caught:
        parse_front_matter(f"---\n{body}\n---", where=WHERE)

    place = "templates/x.ipynb, " if what.startswith("cell") else "templates/x.ipynb, cell 1, "
    assert str(caught.value) == (
        f"{place}{what}\n"
        "Front matter is the first raw cell: YAML between two lines of ---.\n"
        "Correct that cell, then check it with: nbprod templates check templates/x.ipynb"
    )


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("---\ntitle: x", "line 1: the front matter is not closed by ---."),
        ("---\ntitle: x\n---\nmore", "line 4: there is text after the --- that closes the front "
         "matter."),
    ],
)  # fmt: skip
def test_front_matter_ends_where_its_cell_ends(source: str, what: str) -> None:
    with pytest.raises(FrontMatterError) as caught:
        parse_front_matter(source, where=WHERE)

    assert caught.value.what == f"templates/x.ipynb, cell 1, {what}"


def test_an_unknown_key_of_a_scrap_names_the_nearest() -> None:
    with pytest.raises(UnknownKeyError) as caught:
        parse_front_matter("---\nscraps:\n  a: {requird: true}\n---", where=WHERE)

    assert caught.value.what == (
        "templates/x.ipynb, cell 1, line 3: there is no key 'requird' here. "
        "Did you mean 'required'?"
    )


def test_a_text_with_a_comma_in_a_flow_mapping_is_explained() -> None:
    with pytest.raises(UnknownKeyError) as caught:
        parse_front_matter("---\nscraps:\n  a: {description: of these, most}\n---", where=WHERE)

    assert caught.value.why == (
        "Known keys: type, range, unit, higher_is_better, required, description. "
        "A text with a comma in it needs quotes here."
    )
