"""Both pages, made of notebooks that papermill really executed."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest

from nbprod.core.jobs import JobRun, JobStatus, JobStep, StepStatus
from nbprod.core.runs import CellError, Lineage, Run, RunStatus
from nbprod.core.scraps import Scrap, ScrapType, Sidecar
from nbprod.core.verdicts import Outcome, Verdict
from nbprod.notebook.front_matter import parse_front_matter
from nbprod.reports import Decision, StepPart, render_job, render_run

STARTED = datetime(2026, 11, 21, 22, 13, tzinfo=UTC)

FRONT_MATTER = parse_front_matter(
    """---
title: Fine-tune a text classifier
description: Teaches a small language model to file short descriptions.
kind: finetune
scraps:
  macro_f1: {type: number, range: [0, 1], higher_is_better: true, description: Every subject counts}
  latency_p95_ms: {type: number, unit: ms, higher_is_better: false}
  model: {type: model}
report: {title: How well are definitions filed?}
---""",
    where="template.ipynb",
)

RUN = Run(
    id="20261121-221300-4f1c9a",
    template="finetune_text_classifier",
    parameters={"epochs": 2, "data": "notebooks/data/definitions.parquet", "group": None},
    lineage=Lineage(
        template_digest="a1" * 32,
        data_fingerprints={"data": "b2" * 32},
        models={"model": "c3" * 32},
        git_commit="d4" * 20,
        git_dirty=True,
        environment_digest="e5" * 32,
        python="3.11.7",
        host="workstation-3",
        user="maria",
        nbprod="0.1.0",
    ),
    status=RunStatus.SUCCEEDED,
    started_at=STARTED,
    finished_at=STARTED + timedelta(seconds=72),
    notebook_digest="f6" * 32,
)

VERDICTS = (
    Verdict(
        gate="macro_f1 at least 0.55",
        outcome=Outcome.PASSED,
        reason="macro_f1 is 0.702; at least 0.55 was needed.",
    ),
    Verdict(
        gate="macro_f1 beats baseline",
        outcome=Outcome.FAILED,
        reason="0.702 against 0.713: worse by 0.011 on 2,000 examples.",
        method="paired bootstrap, 9,999 resamples",
    ),
    Verdict(gate="latency", outcome=Outcome.UNKNOWN, reason="Only 12 calls; 100 are needed."),
)


def number(name: str, value: float) -> Scrap:
    kind = ScrapType.INTEGER if isinstance(value, int) else ScrapType.NUMBER
    return Scrap(name=name, encoder="json", type=kind, value=value)


SCRAPS = {
    scrap.name: scrap
    for scrap in (
        number("rows", 3000),
        number("macro_f1", 0.7023),
        number("latency_p95_ms", 23.14),
        Scrap(
            name="model",
            encoder="nbprod.model",
            type=ScrapType.MODEL,
            value="",
            sidecar=Sidecar(path="scraps/model", files={}, digest="ab" * 32, size_bytes=90_900_000),
        ),
    )
}


class Words(HTMLParser):
    """Collects what a reader sees, in order, and every address the page mentions."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._hidden += tag in ("style", "script")
        self.addresses += [str(v) for n, v in attrs if n in ("src", "href", "srcset", "action")]

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("style", "script")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words += data.split()


def seen(page: str) -> Words:
    words = Words()
    words.feed(page)
    return words


def text(page: str) -> str:
    return " ".join(seen(page).words)


@pytest.fixture(scope="module")
def page(succeeded: Path) -> str:
    return render_run(
        RUN,
        notebook=succeeded,
        scraps=SCRAPS,
        front_matter=FRONT_MATTER,
        verdicts=VERDICTS,
        workspace="catalogue-team",
    )


def test_a_reader_sees_titles_prose_tables_and_figures_and_no_code(page: str) -> None:
    assert text(page).startswith(
        "How well are definitions filed? catalogue-team · Fine-tune a text classifier "
        "How well are definitions filed? Teaches a small language model to file short descriptions."
    )
    assert "What the data looks like" in text(page)
    assert "3,000 descriptions read" in text(page)
    assert seen(page).tags.count("img") == 2
    assert "artifact 0.81 0.84" in text(page)
    assert "plt.show" not in page
    assert "import" not in text(page)


def test_what_only_engineers_need_stays_out(page: str) -> None:
    for unwanted in (
        "a warning nobody wants",
        "deprecated thing",
        "loading",
        "vnd.nbprod.progress",
        "scrapbook",
        "Text(0.5",
        "alpha",
    ):
        assert unwanted not in page


def test_nothing_is_fetched_and_nothing_runs(page: str) -> None:
    words = seen(page)

    assert "script" not in words.tags
    assert [found for found in words.addresses if not found.startswith(("data:image/", "#"))] == []
    assert re.findall(r"https?://", page) == []
    assert 'http-equiv="Content-Security-Policy" content="default-src &#39;none&#39;;' in page


def test_key_figures_carry_units_and_declared_order(page: str) -> None:
    figures = text(page)[text(page).index("maria") :]

    assert figures.startswith(
        "maria Macro F1 0.702 Every subject counts Latency p95 23.1 ms "
        "Model 90.9 MB digest abababababab Rows 3,000 What the gates say"
    )


def test_verdicts_are_sentences_with_marks(page: str) -> None:
    assert (
        "What the gates say ✓ macro_f1 at least 0.55 passed macro_f1 is 0.702; at least 0.55 was "
        "needed. ✕ macro_f1 beats baseline failed 0.702 against 0.713: worse by 0.011 on 2,000 "
        "examples. paired bootstrap, 9,999 resamples ? latency unknown Only 12 calls; 100 are "
        "needed." in text(page)
    )


def test_the_foot_says_where_it_comes_from(page: str) -> None:
    foot = text(page)[text(page).index("Where this comes from") :]

    assert foot == (
        "Where this comes from Run 20261121-221300-4f1c9a "
        "Template finetune_text_classifier · a1a1a1a1a1a1 Started 21 November 2026, 22:13 UTC "
        "Took 1 min 12 s By maria On workstation-3 Devices CPU Data data b2b2b2b2b2b2 "
        "Models model c3c3c3c3c3c3 Commit d4d4d4d4d4d4, with changes not committed "
        "Environment e5e5e5e5e5e5 Versions Python 3.11.7 · nbprod 0.1.0 "
        "Executed notebook f6f6f6f6f6f6 "
        "Parameters epochs 2 data notebooks/data/definitions.parquet group null"
    )


def test_a_failed_run_says_so_on_top_and_stops_where_it_stopped(failed: Path) -> None:
    run = replace(
        RUN,
        status=RunStatus.FAILED,
        reason="Cell 10 raised ValueError.",
        error=CellError(
            type="ValueError", message="only 10% of the rows have a label", traceback="line 1"
        ),
    )

    page = text(render_run(run, notebook=failed, scraps={}, front_matter=FRONT_MATTER))

    assert (
        "run by maria This run failed. What follows is what it did before. "
        "Cell 10 raised ValueError. ValueError: only 10% of the rows have a label "
        "1 cell was not run (Calibration). For those who will mend it line 1 "
        "Can a computer file" in page
    )
    assert "never reached" not in page
    assert "Confusion matrix" not in page.replace("(Calibration)", "")


def test_papermill_error_banners_stay_out(failed: Path) -> None:
    banner = "An Exception was encountered at"
    assert banner in failed.read_text()

    page = render_run(RUN, notebook=failed, scraps={})

    assert banner not in page


def test_code_is_shown_where_the_front_matter_says_so(succeeded: Path) -> None:
    shown = parse_front_matter("---\nreport: {code: shown}\n---", where="t.ipynb")

    page = render_run(RUN, notebook=succeeded, scraps={}, front_matter=shown)

    assert "plt" in text(page)
    assert "import matplotlib.pyplot as plt" in text(page)


def test_titles_come_from_the_notebook_where_nothing_else_says_one(succeeded: Path) -> None:
    page = render_run(RUN, notebook=succeeded, scraps={})

    assert "<h1>Fine-tune a text classifier</h1>" in page
    assert text(page).count("Fine-tune a text classifier") == 2  # the title bar and the heading


def test_the_executed_notebook_s_own_front_matter_is_used(succeeded: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(succeeded, as_version=4)
    raw = nbformat.v4.new_raw_cell("---\nreport: {title: Read me}\n---")
    notebook.cells.insert(0, raw)
    nbformat.write(notebook, tmp_path / "executed.ipynb")

    page = render_run(RUN, notebook=tmp_path / "executed.ipynb", scraps={})

    assert "<h1>Read me</h1>" in page
    assert "report:" not in page


def test_a_run_without_a_notebook_still_has_a_page() -> None:
    lost = replace(RUN, status=RunStatus.LOST, reason="Its supervisor vanished.", finished_at=None)

    page = text(render_run(lost, notebook=None, scraps=SCRAPS))

    assert page.startswith("Finetune text classifier finetune_text_classifier")
    assert "This run was lost: whatever supervised it vanished. Its supervisor vanished." in page


def test_a_parameter_cannot_write_into_the_page(succeeded: Path) -> None:
    run = replace(RUN, parameters={"q": "<script>alert(1)</script>"})

    page = render_run(run, notebook=succeeded, scraps={})

    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


JOB = JobRun(
    id="20261121-221100-aaaaaa",
    job="subject-router",
    number=2,
    definition="",
    status=JobStatus.BLOCKED,
    reason="Step 'promote': blocked.",
    created_at=STARTED,
    finished_at=STARTED + timedelta(seconds=203),
)


def step(name: str, position: int, kind: str, status: StepStatus, reason: str = "") -> JobStep:
    return JobStep(
        job_run=JOB.id,
        step=name,
        position=position,
        kind=kind,
        status=status,
        reason=reason,
        started_at=STARTED,
        finished_at=STARTED + timedelta(seconds=40),
    )


@pytest.fixture(scope="module")
def job_page(succeeded: Path) -> str:
    evaluation = {
        scrap.name: scrap
        for scrap in (
            number("macro_f1", 0.702),
            number("baseline_macro_f1", 0.523),
            number("champion_macro_f1", 0.713),
        )
    }
    return render_job(
        JOB,
        parts=[
            StepPart(
                step=step("tune", 0, "run", StepStatus.SUCCEEDED),
                title="finetune_text_classifier",
                run=RUN,
                notebook=succeeded,
                scraps=SCRAPS,
                front_matter=FRONT_MATTER,
            ),
            StepPart(
                step=step("evaluate", 1, "run", StepStatus.SUCCEEDED),
                title="evaluate_classifier",
                run=replace(RUN, template="evaluate_classifier"),
                notebook=succeeded,
                scraps=evaluation,
                front_matter=FRONT_MATTER,
            ),
            StepPart(
                step=step("promote", 2, "promote", StepStatus.BLOCKED, "1 gate did not pass."),
                title="subject-router",
            ),
        ],
        decisions=[
            Decision(
                step="promote",
                headline="subject-router version 2 was not promoted",
                is_promoted=False,
                explanation="1 gate did not pass.",
                note="This evaluation set has decided 1 promotion before.",
                verdicts=VERDICTS,
                evidence="evaluate",
            )
        ],
        title="subject-router",
        description="Train and judge.",
        workspace="catalogue-team",
    )


def test_a_job_page_opens_with_the_decision_and_its_numbers(job_page: str) -> None:
    assert text(job_page).startswith(
        "subject-router · run 2 catalogue-team · job run 2 subject-router Train and judge. "
        "blocked 21 November 2026, 22:13 UTC took 3 min 23 s "
        "subject-router version 2 was not promoted 1 gate did not pass. "
        "The models, side by side Scored on the same examples, in the same run. "
        "Measure Model Value Drawn Macro F1 higher is better "
        "Candidate 0.702 Champion 0.713 Baseline 0.523 What the gates say ✓"
    )
    assert "This evaluation set has decided 1 promotion before. The steps" in text(job_page)


def test_a_job_page_lists_its_steps(job_page: str) -> None:
    assert (
        "Step What Status Took Key figures "
        "tune finetune_text_classifier succeeded 40 s Macro F1 0.702 Latency p95 23.1 ms "
        "Model 90.9 MB "
        "evaluate evaluate_classifier succeeded 40 s Macro F1 0.702 "
        "promote subject-router blocked 40 s 1 gate did not pass." in text(job_page)
    )


def test_a_job_page_holds_the_figures_of_its_steps(job_page: str) -> None:
    assert seen(job_page).tags.count("img") == 4
    assert seen(job_page).tags.count("h1") == 1
    assert 'id="step-tune"' in job_page


def test_the_page_of_a_failed_job_says_so_on_top(execute: Callable[..., Path]) -> None:
    failed = replace(JOB, status=JobStatus.FAILED, reason="Step 'tune': a cell raised.")

    page = text(render_job(failed, parts=[]))

    assert (
        "This job failed. What follows is what it did before. Step 'tune': a cell raised." in page
    )
