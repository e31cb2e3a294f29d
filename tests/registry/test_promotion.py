from pathlib import Path

import model_files as make
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbprod.core.errors import (
    AlreadyPromotedError,
    ArtifactMissingError,
    ModelNameError,
    OverrideNeedsReasonError,
    PromotionBlockedError,
    PromotionConflictError,
    RollbackError,
    UnknownVersionError,
)
from nbprod.core.models import Promotion
from nbprod.core.verdicts import Outcome, Verdict
from nbprod.registry.registry import Registry
from nbprod.registry.rollback import former_holders

PASSED = Verdict(
    gate="macro_f1 at least 0.55",
    outcome=Outcome.PASSED,
    reason="macro_f1 is 0.71, 0.55 was needed.",
    method="threshold",
    numbers={"estimate": 0.71, "needed": 0.55},
)
BLOCKING = Verdict(
    gate="macro_f1 beats baseline",
    outcome=Outcome.UNKNOWN,
    reason="Too few examples (40, needed 210).",
    numbers={"n": 40, "low": float("-inf")},
)


@pytest.fixture
def router(registry: Registry, tmp_path: Path) -> Registry:
    """A registry with four versions of one model."""
    for seed in range(4):
        registry.register("router", make.model_folder(tmp_path / str(seed), seed), actor="ann")
    return registry


def promote(registry: Registry, version: int, expected: int | None) -> Promotion:
    return registry.promote("router", version, expected=expected, verdicts=(PASSED,), actor="ann")


def rollback(registry: Registry) -> int:
    return registry.rollback("router", actor="ann").version


def test_a_promotion_moves_the_alias_and_keeps_why(router: Registry) -> None:
    promote(router, 1, None)

    promotion = router.promote(
        "router",
        2,
        expected=1,
        verdicts=(PASSED, PASSED),
        actor="bob",
        evidence_run="20261121-215723-4f1c9a",
        evaluation_digest="e" * 64,
    )

    assert promotion == Promotion(
        id=promotion.id,
        model="router",
        alias="champion",
        version=2,
        former=1,
        action="promote",
        actor="bob",
        at=promotion.at,
        evidence_run="20261121-215723-4f1c9a",
        evaluation_digest="e" * 64,
    )
    assert router.get("router@champion").version == 2
    assert router.verdicts(promotion.id) == (PASSED, PASSED)
    assert router.history("router")[0] == promotion


def test_a_promotion_decided_against_another_champion_moves_nothing(router: Registry) -> None:
    promote(router, 1, None)
    promote(router, 2, 1)

    with pytest.raises(PromotionConflictError) as caught:
        promote(router, 3, 1)
    with pytest.raises(PromotionConflictError) as first:
        promote(router, 3, None)

    assert str(caught.value) == (
        "router version 3 was not promoted: champion moved meanwhile.\n"
        "router@champion is version 2 now; the decision was made against version 1, "
        "so its evidence says nothing about the one that serves.\n"
        "Look at what happened, then evaluate against it: nbprod models show router"
    )
    assert "against no version, " in str(first.value)
    assert router.get("router").version == 2
    assert len(router.history("router")) == 2


def test_a_version_that_holds_the_alias_is_not_promoted_anew(router: Registry) -> None:
    promote(router, 1, None)

    with pytest.raises(AlreadyPromotedError) as caught:
        promote(router, 1, 1)

    assert str(caught.value) == (
        "router version 1 is champion already; nothing was moved.\n"
        "A version whose files are identical is never promoted anew.\n"
        "See what led to it: nbprod models show router"
    )


def test_a_blocking_verdict_stops_a_promotion_that_is_no_override(router: Registry) -> None:
    with pytest.raises(PromotionBlockedError) as caught:
        router.promote("router", 1, expected=None, verdicts=(PASSED, BLOCKING), actor="ann")

    assert str(caught.value) == (
        "router version 1 was not promoted: a gate blocks it.\n"
        "Too few examples (40, needed 210).\n"
        "Improve the model, or override with a reason that stays on record: "
        'nbprod models promote router 1 --override --reason "what justifies it"'
    )
    assert router.find("router@champion") is None


def test_an_override_needs_a_reason_and_is_flagged_for_ever(router: Registry) -> None:
    with pytest.raises(OverrideNeedsReasonError):
        router.promote(
            "router", 1, expected=None, verdicts=(BLOCKING,), actor="ann", is_override=True,
            reason="  ",
        )  # fmt: skip
    router.promote(
        "router", 1, expected=None, verdicts=(BLOCKING,), actor="ann", is_override=True,
        reason="the old one is offensive",
    )  # fmt: skip
    promote(router, 2, 1)
    rollback(router)

    flagged = router.history("router")[-1]

    assert (flagged.is_override, flagged.reason) == (True, "the old one is offensive")
    assert router.verdicts(flagged.id) == (BLOCKING,)


def test_a_refusal_is_on_record_with_its_verdicts_and_moves_nothing(router: Registry) -> None:
    promote(router, 1, None)

    refusal = router.refuse(
        "router", 2, verdicts=(PASSED, BLOCKING), actor="ann", reason="too few",
        evaluation_digest="e" * 64,
    )  # fmt: skip

    assert (refusal.action, refusal.version, refusal.former) == ("refuse", 2, 1)
    assert router.get("router").version == 1
    assert router.history("router")[0] == refusal
    assert router.verdicts(refusal.id) == (PASSED, BLOCKING)


def test_an_evaluation_set_counts_what_it_decided_either_way(router: Registry) -> None:
    digest = "e" * 64
    router.refuse("router", 1, verdicts=(), actor="ann", evaluation_digest=digest)
    router.promote("router", 2, expected=None, verdicts=(), actor="ann", evaluation_digest=digest)
    promote(router, 3, 2)
    rollback(router)

    assert (router.decided(digest), router.decided("f" * 64), router.decided("")) == (2, 0, 0)


def test_rolling_back_goes_further_back_each_time_and_says_who_and_why(router: Registry) -> None:
    for former, version in [(None, 1), (1, 2), (2, 3)]:
        promote(router, version, former)

    first = router.rollback("router", actor="bob", reason="too slow")
    second = rollback(router)

    assert (first.version, first.former, first.actor, first.reason) == (2, 3, "bob", "too slow")
    assert second == 1
    with pytest.raises(RollbackError) as caught:
        rollback(router)
    assert str(caught.value) == (
        "router@champion was not rolled back.\n"
        "Version 1 holds it, and no other version held it before.\n"
        "See its history: nbprod models show router"
    )
    assert [decision.action for decision in router.history("router")] == [
        "rollback", "rollback", "promote", "promote", "promote",
    ]  # fmt: skip


def test_after_a_rollback_a_promotion_is_rolled_back_to_what_served_before_it(
    router: Registry,
) -> None:
    promote(router, 1, None)
    promote(router, 2, 1)
    rollback(router)
    promote(router, 3, 1)

    assert (router.former("router"), rollback(router)) == (1, 1)


def test_a_version_promoted_twice_is_passed_twice(router: Registry) -> None:
    for former, version in [(None, 1), (1, 2), (2, 1), (1, 3)]:
        promote(router, version, former)

    assert [rollback(router), rollback(router), rollback(router)] == [1, 2, 1]


def test_two_people_who_roll_back_the_same_champion_go_one_step_back(router: Registry) -> None:
    for former, version in [(None, 1), (1, 2), (2, 3)]:
        promote(router, version, former)
    router.rollback("router", actor="ann", expected=3)

    with pytest.raises(RollbackError) as caught:
        router.rollback("router", actor="bob", expected=3)

    assert str(caught.value).splitlines()[1] == (
        "router@champion moved meanwhile: version 2 holds it now, version 3 was to be rolled back."
    )
    assert router.get("router").version == 2


def original(tmp_path: Path, registry: Registry, version: int, path: str) -> Path:
    files = registry.get(f"router@{version}").files
    (sha256,) = [file.sha256 for file in files if file.path == path]
    return tmp_path / ".nbprod" / "artifacts" / sha256[:2] / sha256


def test_a_rollback_passes_over_a_version_whose_files_are_damaged(
    router: Registry, tmp_path: Path
) -> None:
    for former, version in [(None, 1), (1, 2), (2, 3)]:
        promote(router, version, former)
    damaged = original(tmp_path, router, 2, "config.json")
    damaged.chmod(0o644)
    damaged.write_text("{}")

    back = router.rollback("router", actor="ann", reason="too slow")

    assert (back.version, back.reason) == (
        1,
        "too slow; passed over version 2: config.json was changed",
    )

    promote(router, 3, 1)
    original(tmp_path, router, 1, "model.safetensors").unlink()
    with pytest.raises(RollbackError) as caught:
        rollback(router)
    assert str(caught.value).splitlines()[1] == (
        "Version 3 holds it, and no earlier holder is intact: "
        "version 1: model.safetensors is missing."
    )


def test_a_version_whose_files_are_gone_is_not_promoted(router: Registry, tmp_path: Path) -> None:
    original(tmp_path, router, 1, "config.json").unlink()

    with pytest.raises(ArtifactMissingError):
        promote(router, 1, None)

    assert router.history("router") == []


def test_aliases_move_independently(router: Registry) -> None:
    promote(router, 1, None)
    promote(router, 2, 1)
    router.promote("router", 3, alias="challenger", expected=None, verdicts=(), actor="ann")

    assert rollback(router) == 1
    assert router.get("router@challenger").version == 3
    with pytest.raises(ModelNameError):
        router.promote("router", 3, alias="3", expected=None, verdicts=(), actor="ann")
    with pytest.raises(UnknownVersionError):
        router.promote("router", 9, expected=1, verdicts=(), actor="ann")


@given(st.lists(st.one_of(st.integers(1, 5), st.none()), max_size=30))
def test_rolling_back_always_undoes_promotions_in_order(steps: list[int | None]) -> None:
    stack: list[int] = []
    record: list[tuple[str, int]] = []
    for step in steps:
        if step is not None and (not stack or stack[-1] != step):
            stack.append(step)
            record.append(("promote", step))
        elif step is None and len(stack) > 1:
            stack.pop()
            record.append(("rollback", stack[-1]))

    decisions = [decision(action, version) for action, version in record]

    assert former_holders(decisions, "champion") == stack[-2::-1]
    assert former_holders(decisions, "challenger") == []


def decision(action: str, version: int) -> Promotion:
    from datetime import UTC, datetime

    at = datetime(2026, 11, 21, tzinfo=UTC)
    return Promotion(
        id=1, model="m", alias="champion", version=version, former=None, action=action,
        actor="ann", at=at,
    )  # fmt: skip
