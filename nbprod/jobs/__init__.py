"""Job files, job runs, steps, references between steps, execution order.

May import: workspace and every room below it. A new kind of step is a form in `reading`, a check
in `plan` and a case in `execute`.
"""

from nbprod.jobs.execute import JobProgress, run_job
from nbprod.jobs.file import JobFile, Step, StepKind, find_job, find_jobs, read_job
from nbprod.jobs.outcome import JobOutcome, StepOutcome
from nbprod.jobs.pages import make_page
from nbprod.jobs.plan import Plan, plan_job
from nbprod.jobs.summary import Summary, as_text, summarise

__all__ = [
    "JobFile",
    "JobOutcome",
    "JobProgress",
    "Plan",
    "Step",
    "StepKind",
    "StepOutcome",
    "Summary",
    "as_text",
    "find_job",
    "find_jobs",
    "make_page",
    "plan_job",
    "read_job",
    "run_job",
    "summarise",
]
