"""`nbprod jobs`: steps that belong together, run in order."""

import click

from nbprod.cli.main import BLOCKED, DONE, FAILED
from nbprod.cli.output import ago, json_option, print_json, table, workspace
from nbprod.core.words import duration


@click.group()
def jobs() -> None:
    """Run the job files of scheduler/, and look at past job runs."""


@jobs.command("list")
@json_option
def list_jobs(*, as_json: bool) -> None:
    """List jobs, each with its latest run."""
    from nbprod.jobs.file import find_jobs

    ws = workspace()
    found, broken = find_jobs(ws.jobs_folder)
    for error in broken:  # one that is broken must not hide the others
        click.echo(f"{error}\n", err=True)
    latest = {name: next(iter(ws.store.jobs.list(job=name, limit=1)), None) for name in found}
    if as_json:
        print_json(
            [{"job": name, "path": job.path, "latest": latest[name]} for name, job in found.items()]
        )
        return
    if not found and not broken:
        click.echo(f"No job files in {ws.jobs_folder}.", err=True)
    if not found:
        return
    rows = []
    for name, job in found.items():
        last = latest[name]
        rows.append(
            (
                name,
                str(len(job.steps)),
                str(last.status) if last is not None else "never run",
                ago(last.created_at) if last is not None else "",
                job.path.name,
            )
        )
    table(("JOB", "STEPS", "LATEST", "WHEN", "FILE"), rows, right=("STEPS",))


@jobs.command()
@click.argument("name")
@click.option("--limit", default=10, show_default=True, help="Newest job runs to show.")
@json_option
def show(name: str, *, limit: int, as_json: bool) -> None:
    """Show a job: its steps, and its latest runs."""
    from nbprod.jobs.file import find_job

    ws = workspace()
    job = find_job(ws.jobs_folder, name)
    past = ws.store.jobs.list(job=job.name, limit=limit)
    if as_json:
        print_json({"job": job, "runs": past})
        return
    click.echo(f"{job.name}: {job.description}" if job.description else job.name)
    click.echo(f"  {job.path}\n")
    table(("STEP", "DOES", "WHAT"), [(step.id, step.kind, step.target) for step in job.steps])
    if past:
        click.echo()
        table(
            ("JOB RUN", "NUMBER", "STATUS", "STARTED", "TOOK"),
            [
                (
                    run.id,
                    str(run.number),
                    str(run.status),
                    ago(run.created_at),
                    duration(run.seconds),
                )
                for run in past
            ],
            right=("NUMBER", "TOOK"),
        )
    click.echo(f"\nRun it: nbprod jobs run {job.name}")


@jobs.command()
@click.argument("name")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.option("--dry-run", is_flag=True, help="Check the whole job; run nothing.")
@json_option
def run(name: str, *, quiet: bool, dry_run: bool, as_json: bool) -> int:
    """Run a job in the foreground. Exits with 3 when a gate blocks its promotion."""
    from nbprod.cli.job_progress import job_shown
    from nbprod.cli.summary import print_summary
    from nbprod.jobs.execute import run_job
    from nbprod.jobs.file import find_job
    from nbprod.jobs.plan import plan_job

    ws = workspace()
    job = find_job(ws.jobs_folder, name)
    if dry_run:
        plan_job(ws, job)
        click.echo(f"{job.name}: {len(job.steps)} steps, all as they should be. Nothing was run.")
        return DONE
    with job_shown(quiet=quiet or as_json) as progress:
        outcome = run_job(ws, job, progress=progress)
    if as_json:
        print_json(outcome)
    else:
        print_summary(outcome)
    match outcome.status:
        case "succeeded":
            return DONE
        case "blocked":
            return BLOCKED
        case _:
            return FAILED
