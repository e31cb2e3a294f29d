"""Errors of the workspace: where it is, what nbprod.toml says, what a promotion lacks."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from nbprod.core.errors.root import NbprodError


class WorkspaceNotFoundError(NbprodError, FileNotFoundError):
    """No nbprod.toml in this folder or above it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder
        self.what = f"There is no nbprod workspace in {folder}."
        self.why = "Neither this folder nor any folder above it holds an nbprod.toml."
        self.do = "Go to your workspace, or make one here: nbprod init ."


class SettingsError(NbprodError, ValueError):
    """nbprod.toml is malformed or says something nbprod does not know."""

    def __init__(self, path: Path, problem: str, line: int | None = None) -> None:
        super().__init__(path, problem, line)
        self.path = path
        self.line = line
        self.what = f"{path}{f', line {line}' if line else ''} cannot be used."
        self.why = problem
        self.do = "Correct the file, then check it: nbprod doctor"


class ModelNotDeclaredError(NbprodError, LookupError):
    """A promotion was asked for a model that nbprod.toml does not declare."""

    def __init__(self, name: str, declared: Sequence[str], path: Path) -> None:
        super().__init__(name, declared, path)
        self.name = name
        self.what = f"No model named {name!r} is declared in {path}."
        self.why = f"Declared models: {', '.join(sorted(declared)) or 'none'}."
        self.do = (
            f"Declare it and its gates under [models.{name}], then look at it: "
            f"nbprod models show {name}"
        )


class NoModelScrapError(NbprodError, LookupError):
    """A run was to be registered, but it left no model, or several and none named `model`."""

    def __init__(
        self, run: str, template: str, scraps: Sequence[str], models: Sequence[str] = ()
    ) -> None:
        super().__init__(run, template, scraps, models)
        self.run = run
        if models:
            self.what = f"Run {run} of {template} left {len(models)} models; which one is meant?"
            self.why = f"They are the scraps {', '.join(models)}; none is named 'model'."
            self.do = (
                "Glue the one to promote as 'model' in the template, then see the run: "
                f"nbprod runs show {run}"
            )
            return
        self.what = f"Run {run} of {template} left no model to register."
        self.why = f"Its scraps are: {', '.join(sorted(scraps)) or 'none'}; none is a model."
        self.do = (
            f"Glue the model's folder in the template, then see the run: nbprod runs show {run}"
        )


class RunNotSucceededError(NbprodError, ValueError):
    """A promotion was to rest on a run that did not succeed."""

    def __init__(self, run: str, template: str, status: str, reason: str) -> None:
        super().__init__(run, template, status, reason)
        self.run = run
        self.what = f"No promotion can rest on run {run} of {template}: it is {status}."
        why = "What it left may be half of what it would have left."
        self.why = f"{reason.rstrip('.')}. {why}" if reason else why
        self.do = f"See what happened, then run it again: nbprod runs show {run}"


class OverrideNeedsReasonError(NbprodError, ValueError):
    """An override was asked for without saying why."""

    def __init__(self, name: str, version: int) -> None:
        super().__init__(name, version)
        self.what = f"{name} version {version} was not promoted: an override needs a reason."
        self.why = "It stays on record for ever, beside the verdicts it overrules."
        self.do = (
            "Say why: "
            f'nbprod models promote {name} {version} --override --reason "what justifies it"'
        )


class ModelReferenceNotFoundError(NbprodError, LookupError):
    """A parameter names a registered model that is not there."""

    def __init__(self, parameter: str, reference: str) -> None:
        super().__init__(parameter, reference)
        self.what = f"Parameter {parameter} asks for {reference}, which does not exist."
        self.why = "No version of that name holds that alias or number."
        self.do = (
            "See what is registered, or end the reference with ? to allow none: nbprod models list"
        )


class ArtifactChangedError(NbprodError):
    """A file beside a run's notebook is no longer what the notebook says it is."""

    def __init__(self, run: str, path: str) -> None:
        super().__init__(run, path)
        self.what = f"{path} of run {run} was changed after the notebook wrote it."
        self.why = "Its sha256 differs from the one in the scrap, so it is not what was evaluated."
        self.do = f"Run the template again; see the run: nbprod runs show {run}"


class NoExecutedNotebookError(NbprodError, LookupError):
    """A run has no executed notebook to look at."""

    def __init__(self, run: str, status: str, reason: str) -> None:
        super().__init__(run, status, reason)
        self.run = run
        self.what = f"Run {run} has no executed notebook; it is {status}."
        self.why = reason or "A notebook appears once the run has ended."
        self.do = f"See what is known of it: nbprod runs show {run}"


class WorkspaceExistsError(NbprodError, FileExistsError):
    """`nbprod init` was asked for in a folder that is a workspace already."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder
        self.what = f"{folder} is a workspace already."
        self.why = "It holds an nbprod.toml, which init would not overwrite."
        self.do = f"Go on in it: cd {shlex.quote(str(folder))} && nbprod templates list"


class NotAFolderError(NbprodError, ValueError):
    """A folder was to be made where a file is."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder
        self.what = f"{folder} cannot become a workspace."
        self.why = "It is a file, not a folder."
        other = shlex.quote(f"{folder}-workspace")
        self.do = f"Choose another name: nbprod init {other}"
