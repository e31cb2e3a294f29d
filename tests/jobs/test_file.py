from datetime import timedelta
from pathlib import Path

import pytest

from nbprod.core.errors import JobFileError, UnknownJobError, YamlError
from nbprod.core.resources import Gpus, Resources
from nbprod.jobs import JobFile, Step, StepKind, find_job, find_jobs
from nbprod.jobs.file import parse_job

FULL = """\
job: nightly
description: Train at night.
schedule: "0 3 * * *"
on: {file: "data/*.csv"}
resources: {cpus: 2}
steps:
  - run: explore_text
  - id: tune
    run: finetune_text_classifier
    resources: {gpus: {prefer: 1}, timeout: 2h}
    parameters: {learning_rate: 1e-4, data: "${explore_text.rows}"}
  - {promote: subject-router, from: tune}
  - {report: true}
"""


def read(text: str) -> JobFile:
    return parse_job(text, path=Path("scheduler/nightly.yaml"))


def test_a_job_file_says_what_runs_in_which_order() -> None:
    assert read(FULL) == JobFile(
        name="nightly",
        description="Train at night.",
        path=Path("scheduler/nightly.yaml"),
        text=FULL,
        schedule="0 3 * * *",
        on={"file": "data/*.csv"},
        resources=Resources(cpus=2),
        steps=(
            Step(id="explore_text", kind=StepKind.RUN, target="explore_text", line=7),
            Step(
                id="tune",
                kind=StepKind.RUN,
                target="finetune_text_classifier",
                parameters={"learning_rate": 0.0001, "data": "${explore_text.rows}"},
                resources=Resources(gpus=Gpus(preferred=1), timeout=timedelta(hours=2)),
                position=1,
                line=8,
            ),
            Step(
                id="promote",
                kind=StepKind.PROMOTE,
                target="subject-router",
                candidate="tune",
                position=2,
                line=12,
            ),
            Step(id="report", kind=StepKind.REPORT, position=3, line=13),
        ),
    )


@pytest.mark.parametrize(
    "line",
    [
        "schedule: {cron: '@daily', timezone: Europe/Berlin, grace: 1h}",
        "schedule: {every: 2h}",
        "on: drift",
        "on: [drift, new_data]",
    ],
)
def test_what_starts_a_job_is_accepted_in_form(line: str) -> None:
    read(f"job: nightly\n{line}\nsteps: [{{run: a}}]\n")


HEAD = "job: nightly\n"
WHY = "A job is checked as a whole before any of its steps runs."
DO = "Correct it, then check it without running it: nbprod jobs run nightly --dry-run"


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("- a\n", None, "a job file is a mapping that begins with `job: NAME`."),
        ("", None, "a job file is a mapping that begins with `job: NAME`."),
        ("steps: [{run: a}]\n", None, "`job` is missing."),
        (HEAD, None, "`steps` is missing."),
        (HEAD + "steps: []\n", 2, "`steps` is empty."),
        (HEAD + "steps: {run: a}\n", 2, "`steps` is a list, not {'run': 'a'}."),
        ("job: 3\nsteps: [{run: a}]\n", 1, "`job` is text, not 3."),
        (
            "job: a b\nsteps: [{run: a}]\n",
            1,
            "'a b' cannot name a job: use letters, digits, - and _ only.",
        ),
        (
            HEAD + "scedule: x\nsteps: [{run: a}]\n",
            2,
            "there is no key 'scedule'. Did you mean 'schedule'?",
        ),
        (
            HEAD + "steps:\n  - {rnu: a}\n",
            3,
            "step 1 says only rnu; it must say one of run, promote, report. Did you mean 'run'?",
        ),
        (
            HEAD + "steps:\n  - {run: a, report: true}\n",
            3,
            "step 1 says run and report; it must say one of run, promote, report.",
        ),
        (
            HEAD + "steps:\n  - run: a\n    paramters: {x: 1}\n",
            4,
            "step 1: there is no key 'paramters'. Did you mean 'parameters'?",
        ),
        (
            HEAD + "steps:\n  - {run: a}\n  - {promote: m}\n",
            4,
            "step 2: `from` is missing.",
        ),
        (
            HEAD + "steps:\n  - {run: a}\n  - {promote: m, form: a}\n",
            4,
            "step 2: there is no key 'form'. Did you mean 'from'?",
        ),
        (HEAD + "steps:\n  - {run: 7}\n", 3, "step 1: `run` is text, not 7."),
        (
            HEAD + "steps:\n  - {run: a, parameters: [1]}\n",
            3,
            "step 1: `parameters` is a mapping, not [1].",
        ),
        (
            HEAD + "steps:\n  - {id: a b, run: a}\n",
            3,
            "step 1: 'a b' cannot be an id: use letters, digits, - and _.",
        ),
        (
            HEAD + "steps:\n  - {report: false}\n",
            3,
            "step 1: `report` is true, not False.",
        ),
        (
            HEAD + "steps:\n  - {run: a}\n  - {run: b}\n  - {id: a, run: b}\n",
            5,
            "steps 1 and 3 are both 'a'. Give one of them another id.",
        ),
        (
            HEAD + "steps:\n  - {run: a}\n  - {run: b}\n  - {run: a}\n",
            5,
            "steps 1 and 3 are both 'a'. Give one of them another id.",
        ),
        (
            HEAD + "steps:\n  - {id: job, run: a}\n",
            3,
            "a step cannot be called 'job': ${job.number} means the job.",
        ),
        (
            HEAD + "steps:\n  - {run: notebooks/1 look.ipynb}\n",
            3,
            "the step that runs 'notebooks/1 look.ipynb' needs an id, such as `id: look`.",
        ),
        (
            HEAD + "schedule: every morning\nsteps: [{run: a}]\n",
            2,
            "'every morning' is no schedule: write five cron fields, or one of "
            "@hourly, @daily, @weekly, @monthly, @yearly.",
        ),
        (
            HEAD + "schedule: {cron: '@daily', every: 1h}\nsteps: [{run: a}]\n",
            2,
            "a schedule says either `cron` or `every`.",
        ),
        (
            HEAD + "schedule: {every: 1h, timezome: UTC}\nsteps: [{run: a}]\n",
            2,
            "there is no key 'schedule.timezome'. Did you mean 'timezone'?",
        ),
        (
            HEAD + "schedule: {every: often}\nsteps: [{run: a}]\n",
            2,
            "'often' is no duration: write 2h or 30m.",
        ),
        (
            HEAD + "on: 3\nsteps: [{run: a}]\n",
            2,
            "`on` names events, such as `on: {file: data/*.csv}`, not 3.",
        ),
        (
            HEAD + "resources: {gpu: 1}\nsteps: [{run: a}]\n",
            2,
            "there is no resource 'gpu'. Did you mean 'gpus'?",
        ),
    ],
)
def test_a_malformed_job_is_refused_with_file_and_line(
    text: str, line: int | None, problem: str
) -> None:
    at = f"scheduler/nightly.yaml, line {line}" if line else "scheduler/nightly.yaml"

    with pytest.raises(JobFileError) as refused:
        read(text)

    assert str(refused.value) == f"{at}: {problem}\n{WHY}\n{DO}"


def test_malformed_yaml_is_refused_with_file_and_line() -> None:
    with pytest.raises(YamlError) as refused:
        read("job: nightly\nsteps:\n  - {run: a\n")

    assert str(refused.value) == (
        "scheduler/nightly.yaml, line 4: While parsing a flow mapping did not find expected ',' "
        "or '}'.\n"
        "It is read as YAML 1.2, where every key of a mapping stands once.\n"
        "Correct it, then try: nbprod jobs run nightly --dry-run"
    )


def test_a_job_file_that_is_no_text_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nightly.yaml").write_bytes(b"job: \xff\n")
    monkeypatch.chdir(tmp_path)

    _, (refused,) = find_jobs(tmp_path)

    assert isinstance(refused, JobFileError)
    assert str(refused) == (f"nightly.yaml: it is not UTF-8: byte 5 cannot be read.\n{WHY}\n{DO}")


def job(folder: Path, file: str, name: str) -> None:
    (folder / file).write_text(f"job: {name}\nsteps: [{{run: a}}]\n")


def test_jobs_are_found_by_the_name_inside_the_file(tmp_path: Path) -> None:
    job(tmp_path, "a.yaml", "second")
    job(tmp_path, "b.yml", "first")
    (tmp_path / "README.md").write_text("no job")

    found, broken = find_jobs(tmp_path)
    assert (list(found), broken) == (["first", "second"], ())
    assert find_job(tmp_path, "second").path == tmp_path / "a.yaml"
    assert find_job(tmp_path, str(tmp_path / "b.yml")).name == "first"
    assert find_jobs(tmp_path / "absent") == ({}, ())


def test_an_unknown_job_suggests_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "scheduler"
    folder.mkdir()
    job(folder, "a.yaml", "nightly")

    with pytest.raises(UnknownJobError) as refused:
        find_job(folder, "nigthly")

    assert str(refused.value) == (
        "There is no job 'nigthly' in scheduler. Did you mean 'nightly'?\n"
        "Jobs found there: nightly.\n"
        "See what there is: nbprod jobs list"
    )


def test_a_broken_neighbour_is_in_nobody_s_way(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("job: [")
    job(tmp_path, "subject_router.yaml", "subject-router")

    assert find_job(tmp_path, "subject-router").name == "subject-router"
    with pytest.raises(YamlError):
        find_job(tmp_path, "other")


def test_two_files_cannot_declare_one_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    job(tmp_path, "a.yaml", "nightly")
    job(tmp_path, "b.yaml", "nightly")

    found, (refused,) = find_jobs(tmp_path)

    assert found["nightly"].path.name == "a.yaml"
    assert str(refused) == (
        f"b.yaml, line 1: the job 'nightly' is declared in a.yaml already.\n{WHY}\n{DO}"
    )
