"""The registry of record: versions, aliases, promotions and their reasons."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from nbprod.core.digest import digest_manifest
from nbprod.core.errors import (
    AlreadyPromotedError,
    ModelReferenceError,
    OverrideNeedsReasonError,
    PromotionBlockedError,
    PromotionConflictError,
    RollbackError,
    UnknownModelError,
    UnknownVersionError,
)
from nbprod.core.json import JSON
from nbprod.core.models import ModelFile, ModelVersion, Promotion, RegisteredModel
from nbprod.core.verdicts import Verdict
from nbprod.registry import record
from nbprod.registry.copies import Copies
from nbprod.registry.intake import already_stored, take_in
from nbprod.registry.references import (
    CHAMPION,
    ModelReference,
    Origin,
    check_alias,
    check_name,
    parse_reference,
)
from nbprod.registry.rollback import former_holders
from nbprod.store.artifacts import Artifacts
from nbprod.store.store import Store

Reference = str | ModelReference
# Inside the class, `list` is a method.
ModelList = list[RegisteredModel]
VersionList = list[ModelVersion]
DecisionList = list[Promotion]
PassedOver = list[tuple[int, str]]  #: version, why it cannot serve


class Registry:
    """Which model serves, which wants to, and where each came from.

    Rows are in the store, so that a promotion commits with its verdicts or not at all; files
    are in the artifact store; `folder` holds versions as folders to load from.
    """

    def __init__(self, store: Store, artifacts: Artifacts, folder: Path) -> None:
        self._store = store
        self._artifacts = artifacts
        self._copies = Copies(artifacts, folder)

    def register(
        self,
        name: str,
        source: Path | Mapping[str, ModelFile],
        *,
        actor: str,
        run: str | None = None,
        lineage: Mapping[str, JSON] | None = None,
        scraps: Mapping[str, JSON] | None = None,
        description: str = "",
        text: str = "",
        trusted: Collection[str] = (),
    ) -> ModelVersion:
        """Add a version, or return the one that has exactly these files already.

        Args:
            name: made when it is new.
            source: a folder, or files that the artifact store holds already.
            actor: who registers it.
            run: the run that made it.
            lineage: where it came from.
            scraps: numbers of its run.
            description: of the name; the latest one is kept.
            text: where it came from, in words.
            trusted: dotted names of types that its skops files may build; kept on record.

        Raises:
            ModelFormatError: a file's format could execute code, or it is not whole.
            ModelFolderError: there is no folder, or nothing is in it.
            ArtifactMissingError: a file of a mapping is not stored.
        """
        check_name(name)
        if isinstance(source, Path):
            files = take_in(source, self._artifacts, trusted=trusted)
            text = text or f"folder {source}"
        else:
            text = text or (f"run {run}" if run else "stored files")
            files = already_stored(source, self._artifacts, text=text, run=run, trusted=trusted)
        digest = digest_manifest({file.path: file.sha256 for file in files})
        with self._store.write() as connection:
            record.add_model(connection, name, description)
            known = record.find_versions(connection, name, digest=digest)
            if known:
                return known[0]
            number = record.add_version(
                connection,
                name,
                digest=digest,
                files=files,
                run=run,
                lineage=lineage or {},
                scraps=scraps or {},
                source=text,
                actor=actor,
            )
            declared = f"trusted: {', '.join(sorted(trusted))}" if trusted else ""
            record.add_audit(connection, "register", name, number, actor=actor, reason=declared)
            return record.find_versions(connection, name, version=number)[0]

    def get(self, reference: Reference) -> ModelVersion:
        """Return a version by `NAME@ALIAS`, `NAME@3` or NAME, its champion.

        Raises:
            UnknownModelError: there is no such name.
            UnknownVersionError: it has no such version, or nothing holds the alias.
            ModelReferenceError: the text names nothing, or a model of an MLflow server.
        """
        wanted = _own(reference)
        with self._store.read() as connection:
            version = wanted.version
            if version is None:
                version = record.holder(connection, wanted.name, wanted.alias)
            if version is not None:
                found = record.find_versions(connection, wanted.name, version=version)
                if found:
                    return found[0]
            model = record.find_model(connection, wanted.name)
            if model is None:
                known = [other.name for other in record.list_models(connection)]
                raise UnknownModelError(wanted.name, known)
        raise UnknownVersionError(
            wanted.name, wanted.alias or str(wanted.version), _what_there_is(model)
        )

    def find(self, reference: Reference) -> ModelVersion | None:
        """Return what `get` does, or None where there is none."""
        try:
            return self.get(reference)
        except (UnknownModelError, UnknownVersionError):
            return None

    def list(self) -> ModelList:
        """Return every registered name, in order."""
        with self._store.read() as connection:
            return record.list_models(connection)

    def versions(self, name: str) -> VersionList:
        """Return every version of a name, newest first; none for an unknown name."""
        with self._store.read() as connection:
            return record.find_versions(connection, name)

    def promote(
        self,
        name: str,
        version: int,
        *,
        expected: int | None,
        verdicts: Sequence[Verdict],
        actor: str,
        alias: str = CHAMPION,
        reason: str = "",
        is_override: bool = False,
        evidence_run: str | None = None,
        evaluation_digest: str = "",
    ) -> Promotion:
        """Move an alias to `version`, if `expected` still holds it: all on record, or nothing.

        Args:
            name: the registered name.
            version: the one that shall hold the alias.
            expected: the version that the decision was made against; None for nobody.
            verdicts: what the gates said.
            actor: who decides.
            alias: what moves.
            reason: why; an override must have one.
            is_override: promote although gates block. It stays on record for ever.
            evidence_run: the evaluation run.
            evaluation_digest: the evaluation set that decided.

        Raises:
            PromotionConflictError: another version holds the alias by now.
            PromotionBlockedError: a gate blocks, and it is no override.
            AlreadyPromotedError: `version` holds the alias already.
            OverrideNeedsReasonError: an override without a reason.
            ArtifactMissingError: a file of the version is no longer stored.
        """
        check_alias(alias)
        if is_override and not reason.strip():
            raise OverrideNeedsReasonError(name, version)
        blocking = [verdict for verdict in verdicts if verdict.outcome.blocks]
        if blocking and not is_override:
            raise PromotionBlockedError(name, version, [verdict.reason for verdict in blocking])
        for file in self.get(ModelReference(name=name, version=version)).files:
            self._artifacts.open(file.sha256).close()
        with self._store.write() as connection:
            former = record.holder(connection, name, alias)
            if former != expected:
                raise PromotionConflictError(name, version, alias, expected, former)
            if former == version:
                raise AlreadyPromotedError(name, version, alias)
            record.move_alias(connection, name, alias, version)
            entry = record.add_audit(
                connection,
                "promote",
                name,
                version,
                actor=actor,
                reason=reason,
                alias=alias,
                former=former,
                is_override=is_override,
                evidence_run=evidence_run,
                evaluation_digest=evaluation_digest,
                found=verdicts,
            )
            return record.decisions(connection, entry=entry)[0]

    def refuse(
        self,
        name: str,
        version: int,
        *,
        verdicts: Sequence[Verdict],
        actor: str,
        alias: str = CHAMPION,
        reason: str = "",
        evidence_run: str | None = None,
        evaluation_digest: str = "",
    ) -> Promotion:
        """Put on record that gates kept `version` from an alias. Nothing moves."""
        check_alias(alias)
        self.get(ModelReference(name=name, version=version))
        with self._store.write() as connection:
            entry = record.add_audit(
                connection,
                "refuse",
                name,
                version,
                actor=actor,
                reason=reason,
                alias=alias,
                former=record.holder(connection, name, alias),
                evidence_run=evidence_run,
                evaluation_digest=evaluation_digest,
                found=verdicts,
            )
            return record.decisions(connection, entry=entry)[0]

    def former(self, name: str, *, alias: str = CHAMPION) -> int:
        """Return the version that a rollback would go back to.

        Raises:
            UnknownModelError: there is no such name.
            RollbackError: no other version held the alias before, or none is intact.
        """
        return self._target(name, alias)[1]

    def rollback(
        self,
        name: str,
        *,
        actor: str,
        reason: str = "",
        alias: str = CHAMPION,
        expected: int | None = None,
    ) -> Promotion:
        """Move an alias back to the version that held it before; again goes further back.

        A former holder whose files are damaged is passed over, and the record says so: a
        rollback is for when things are on fire.

        Args:
            name: the registered name.
            actor: who decides.
            reason: why.
            alias: what moves.
            expected: who is meant to be rolled back. Two people who do so at once then go one
                step back, not two; None takes whoever holds it.

        Raises:
            RollbackError: nobody held it before, none of them is intact, or it moved meanwhile.
        """
        current, target, passed_over = self._target(name, alias)
        if expected is not None and current != expected:
            raise RollbackError(name, alias, _moved(name, alias, expected, current))
        notes = [f"passed over version {version}: {why}" for version, why in passed_over]
        with self._store.write() as connection:
            now = record.holder(connection, name, alias)
            if now != current:
                raise RollbackError(name, alias, _moved(name, alias, current, now))
            record.move_alias(connection, name, alias, target)
            entry = record.add_audit(
                connection,
                "rollback",
                name,
                target,
                actor=actor,
                reason="; ".join([reason, *notes] if reason else notes),
                alias=alias,
                former=current,
            )
            return record.decisions(connection, entry=entry)[0]

    def _target(self, name: str, alias: str) -> tuple[int, int, PassedOver]:
        """Return the holder, the version to go back to, and those passed over, with why."""
        current = self.get(ModelReference(name=name, alias=alias)).version
        with self._store.read() as connection:
            earlier = former_holders(record.decisions(connection, name=name), alias)
        passed_over: PassedOver = []
        for version in earlier:
            if version == current:
                continue
            entry = self.get(ModelReference(name=name, version=version))
            damaged = self._copies.damaged_originals(entry)
            if not damaged:
                return current, version, passed_over
            passed_over.append((version, damaged[0]))
        held = f"Version {current} holds it, and "
        if not passed_over:
            raise RollbackError(name, alias, held + "no other version held it before.")
        listed = "; ".join(f"version {version}: {why}" for version, why in passed_over)
        raise RollbackError(name, alias, held + f"no earlier holder is intact: {listed}.")

    def history(self, name: str) -> DecisionList:
        """Return every promotion, rollback and refusal of a name, newest first."""
        with self._store.read() as connection:
            return record.decisions(connection, name=name)[::-1]

    def verdicts(self, entry: int) -> tuple[Verdict, ...]:
        """Return what the gates said at a decision, given its id."""
        with self._store.read() as connection:
            return record.find_verdicts(connection, entry)

    def decided(self, evaluation_digest: str) -> int:
        """Return how many promotions an evaluation set has decided, refusals included."""
        if not evaluation_digest:
            return 0
        with self._store.read() as connection:
            return record.count_decided(connection, evaluation_digest)

    def path(self, reference: Reference) -> Path:
        """Return the folder of a version, every byte of it just compared with the record.

        Raises:
            ModelTamperedError: naming each file that is not as it was registered.
        """
        return self._copies.path(self.get(reference))

    def verify(self, reference: Reference) -> Path:
        """Check a version's folder and the originals it was made from; return the folder.

        Raises:
            ModelTamperedError: naming each file that is not as it was registered.
        """
        return self._copies.verify(self.get(reference))

    def repair(self, reference: Reference) -> Path:
        """Make a version's folder anew from the originals; what was changed in it is lost.

        An original that is missing is first put back from the folder, where that is intact.
        """
        return self._copies.repair(self.get(reference))


def _own(reference: Reference) -> ModelReference:
    parsed = parse_reference(reference) if isinstance(reference, str) else reference
    if parsed.origin is not Origin.REGISTRY:
        raise ModelReferenceError(str(parsed), "It is a model of an MLflow server, not of ours.")
    return parsed


def _what_there_is(model: RegisteredModel) -> list[str]:
    last = model.last_version
    numbers = f"versions 1 to {last}" if last > 1 else "version 1"
    return [numbers, *(f"{alias} (version {held})" for alias, held in model.aliases.items())]


def _moved(name: str, alias: str, expected: int | None, found: int | None) -> str:
    return (
        f"{name}@{alias} moved meanwhile: version {found} holds it now, version {expected} "
        "was to be rolled back."
    )
