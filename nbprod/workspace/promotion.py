"""Decide a promotion and carry it out: evidence, verdicts, then one conditional movement."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from nbprod.core.digest import digest_manifest
from nbprod.core.errors import (
    ModelNotDeclaredError,
    NoModelScrapError,
    OverrideNeedsReasonError,
    RunNotSucceededError,
)
from nbprod.core.evidence import Evidence
from nbprod.core.models import ModelFile, ModelVersion
from nbprod.core.runs import RunStatus
from nbprod.core.scraps import Scrap, ScrapType
from nbprod.core.verdicts import Outcome, Verdict
from nbprod.workspace.evidence import gather

if TYPE_CHECKING:
    from nbprod.workspace.records import RunRecord
    from nbprod.workspace.workspace import Workspace

CHAMPION = "champion"


class Movement(StrEnum):
    """What a promotion came to."""

    PROMOTED = "promoted"  #: every gate passed; the alias moved
    BLOCKED = "blocked"  #: a gate did not pass; nothing moved
    OVERRIDDEN = "overridden"  #: a gate did not pass; someone moved the alias all the same
    UNCHANGED = "unchanged"  #: the candidate is the champion, byte for byte
    WOULD_PROMOTE = "would promote"  #: a dry run in which every gate passed
    WOULD_BLOCK = "would block"  #: a dry run in which a gate did not pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The outcome of a promotion, with everything needed to explain it."""

    model: str
    movement: Movement
    version: int | None  #: the candidate's; None in a dry run that has not registered it
    former: int | None  #: the champion before
    verdicts: tuple[Verdict, ...] = ()
    note: str = ""  #: which evaluation set decided, and how often it has before
    explanation: str = ""
    reason: str = ""  #: of an override
    evidence_run: str | None = None

    @property
    def is_blocked(self) -> bool:
        """Say whether gates kept the candidate out."""
        return self.movement in (Movement.BLOCKED, Movement.WOULD_BLOCK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What wants to be promoted: a registered version, or the model a run left."""

    digest: str
    files: Mapping[str, ModelFile]
    version: ModelVersion | None = None
    run: "RunRecord | None" = None


def promote(
    workspace: "Workspace",
    name: str,
    *,
    version: int | None = None,
    run: str | None = None,
    evidence: str | None = None,
    dry_run: bool = False,
    override: bool = False,
    reason: str = "",
) -> Decision:
    """Promote a version, or the model that a run left, if its gates say so.

    Args:
        workspace: where everything is.
        name: the registered name; its gates stand in nbprod.toml.
        version: a registered version; or
        run: id of the run whose model is to be registered and promoted.
        evidence: id of the evaluation run; the latest that scored the candidate by default.
        dry_run: judge, but move and record nothing.
        override: promote although gates block. Needs `reason`; both stay on record.
        reason: why.

    Raises:
        ModelNotDeclaredError: nbprod.toml has no such model.
        RunNotSucceededError: the candidate's run or the evidence did not succeed.
        ModelTamperedError: the candidate is not what was registered.
        PromotionConflictError: someone else moved the champion meanwhile.
    """
    declared = workspace.settings.models
    if name not in declared:
        raise ModelNotDeclaredError(name, tuple(declared), workspace.root / "nbprod.toml")
    if override and not reason.strip():
        raise OverrideNeedsReasonError(name, version or 0)
    gates = workspace.gates(name)  # a malformed declaration is refused before anything moves
    candidate = _candidate(workspace, name, version=version, run=run)
    champion = workspace.registry.find(f"{name}@{CHAMPION}")
    found = _evidence(workspace, candidate, champion, evidence)

    from nbprod.gates.judge import evaluation_note, judge

    verdicts = tuple(judge(gates, found)) or (_no_gates(name),)
    if candidate.run is not None:
        verdicts += _taken_back(workspace, name, candidate.digest)
    is_blocked = any(verdict.outcome.blocks for verdict in verdicts)

    def decision(movement: Movement, number: int | None, explanation: str) -> Decision:
        return Decision(
            model=name,
            movement=movement,
            version=number,
            former=champion.version if champion is not None else None,
            verdicts=verdicts,
            note=evaluation_note(found),
            explanation=explanation,
            reason=reason,
            evidence_run=found.run,
        )

    if champion is not None and champion.digest == candidate.digest:
        explanation = (
            f"The candidate is {name} version {champion.version}, byte for byte, and that is "
            f"the {CHAMPION} already: there is nothing to promote."
        )
        return decision(Movement.UNCHANGED, champion.version, explanation)
    if dry_run:
        movement = Movement.WOULD_BLOCK if is_blocked else Movement.WOULD_PROMOTE
        number = candidate.version.version if candidate.version is not None else None
        return decision(movement, number, "Nothing was moved: this was a dry run.")
    registered = candidate.version or _register(workspace, name, candidate)
    if is_blocked and not override:
        workspace.registry.refuse(
            name,
            registered.version,
            verdicts=verdicts,
            actor=workspace.actor,
            reason=_blocking(verdicts),
            evidence_run=found.run,
            evaluation_digest=found.evaluation_digest,
        )
        explanation = _blocked(name, registered, champion, verdicts)
        return decision(Movement.BLOCKED, registered.version, explanation)
    workspace.registry.path(f"{name}@{registered.version}")  # what cannot be loaded cannot serve
    workspace.registry.promote(
        name,
        registered.version,
        alias=CHAMPION,
        expected=champion.version if champion is not None else None,
        verdicts=verdicts,
        actor=workspace.actor,
        reason=reason,
        is_override=is_blocked,
        evidence_run=found.run,
        evaluation_digest=found.evaluation_digest,
    )
    explanation = f"{name}@{CHAMPION} → version {registered.version}"
    explanation += f" (was version {champion.version})." if champion is not None else "."
    movement = Movement.OVERRIDDEN if is_blocked else Movement.PROMOTED
    return decision(movement, registered.version, explanation)


def model_scrap(record: "RunRecord") -> Scrap:
    """Return the run's model scrap: the one named `model`, else the only one.

    Raises:
        NoModelScrapError: it left none, or several under other names.
    """
    models = [
        record.scrap(name)
        for name in record.scraps
        if record.scrap(name).type is ScrapType.MODEL and record.scrap(name).sidecar
    ]
    named = [scrap for scrap in models if scrap.name == "model"]
    if named:
        return named[0]
    if len(models) != 1:
        names = tuple(scrap.name for scrap in models)
        raise NoModelScrapError(record.id, record.template, tuple(record.scraps), names)
    return models[0]


def _candidate(
    workspace: "Workspace", name: str, *, version: int | None, run: str | None
) -> Candidate:
    if version is not None:
        entry = workspace.registry.get(f"{name}@{version}")
        return Candidate(
            digest=entry.digest,
            files={file.path: file for file in entry.files},
            version=entry,
        )
    if run is None:
        raise ValueError("promote() needs a version or a run.")
    record = workspace.record(run)
    _check_succeeded(record)
    sidecar = model_scrap(record).sidecar
    assert sidecar is not None
    sizes = {path: size for path, _, size in workspace.store.runs.artifacts(record.id)}
    files = {
        path: ModelFile(path=path, sha256=sha256, size_bytes=sizes[f"{sidecar.path}/{path}"])
        for path, sha256 in sidecar.files.items()
    }
    return Candidate(
        digest=digest_manifest(sidecar.files),
        files=files,
        run=record,
    )


def _evidence(
    workspace: "Workspace",
    candidate: Candidate,
    champion: ModelVersion | None,
    evidence: str | None,
) -> Evidence:
    record = workspace.record(evidence) if evidence else _latest(workspace, candidate.digest)
    digest = champion.digest if champion else None
    if record is None:
        return Evidence(predictions=None, candidate=candidate.digest, champion=digest)
    _check_succeeded(record)
    manifests = {candidate.digest: candidate.files}
    if champion is not None:
        manifests[champion.digest] = {file.path: file for file in champion.files}
    return gather(
        record,
        candidate=candidate.digest,
        champion=digest,
        manifests=manifests,
        artifacts=workspace.artifacts,
        decided=workspace.registry.decided,
    )


def _check_succeeded(record: "RunRecord") -> None:
    if record.status is not RunStatus.SUCCEEDED:
        raise RunNotSucceededError(record.id, record.template, record.status.value, record.reason)


def _latest(workspace: "Workspace", candidate: str) -> "RunRecord | None":
    """Return the newest succeeded run that scored the candidate, among the last 200."""
    for record in workspace.runs(status=RunStatus.SUCCEEDED, limit=200):
        if "models" not in record.scraps or "predictions" not in record.scraps:
            continue
        scored = record.scrap("models").value
        entry = scored.get("candidate") if isinstance(scored, dict) else None
        if isinstance(entry, dict) and entry.get("digest") == candidate:
            return record
    return None


def _register(workspace: "Workspace", name: str, candidate: Candidate) -> ModelVersion:
    assert candidate.run is not None
    run = candidate.run
    return workspace.registry.register(
        name,
        candidate.files,
        run=run.id,
        lineage=workspace.lineage_of(run),
        scraps=dict(run.numbers()),
        description=workspace.settings.models[name].description,
        actor=workspace.actor,
        text=f"run {run.id} of {run.template}",
        trusted=workspace.settings.models[name].trusted,
    )


def _taken_back(workspace: "Workspace", name: str, digest: str) -> tuple[Verdict, ...]:
    """Return a verdict that blocks when a job brings back a model that was rolled back.

    Training again on the same data gives the same bytes, and gates that passed it once would pass
    it again: whoever rolled it back would find it serving the next morning. Asked for by its
    version, by a person, it is judged like any other.
    """
    known = [entry for entry in workspace.registry.versions(name) if entry.digest == digest]
    if not known:
        return ()
    version = known[0].version
    for event in workspace.registry.history(name):
        if event.alias != CHAMPION or event.action == "refuse":
            continue
        if event.action == "promote" and event.version == version:
            return ()
        if event.action == "rollback" and event.former == version:
            why = f": {event.reason}" if event.reason else ""
            return (
                Verdict(
                    gate="not rolled back before",
                    outcome=Outcome.FAILED,
                    reason=f"This is version {version}, byte for byte, and {event.actor} rolled it "
                    f"back on {event.at:%Y-%m-%d}{why}. If it shall serve again, say so: "
                    f"nbprod models promote {name} {version}",
                    method="none: equal digests",
                    numbers={"version": version, "rollback": event.id},
                ),
            )
    return ()


def _no_gates(name: str) -> Verdict:
    return Verdict(
        gate="at least one gate",
        outcome=Outcome.UNKNOWN,
        reason=f"[models.{name}] in nbprod.toml declares no gates: nothing can be shown to pass.",
    )


def _blocking(verdicts: tuple[Verdict, ...]) -> str:
    return "; ".join(
        f"{verdict.gate}: {verdict.outcome}" for verdict in verdicts if verdict.outcome.blocks
    )


def _blocked(
    name: str,
    registered: ModelVersion,
    champion: ModelVersion | None,
    verdicts: tuple[Verdict, ...],
) -> str:
    count = sum(verdict.outcome.blocks for verdict in verdicts)
    gates = "1 gate" if count == 1 else f"{count} gates"
    stays = (
        f"{name}@{CHAMPION} stays version {champion.version}."
        if champion
        else f"{name} has no {CHAMPION} yet."
    )
    return f"Version {registered.version} was not promoted: {gates} did not pass. {stays}"
