"""A model's life, from its first promotion to its export, told by the commands that lead it."""

import json
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import Cli, Done
from tests.acceptance.router import make_router, write_job

Story = dict[str, Any]
ROUTER = "router@champion"


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    return make_router(tmp_path_factory.mktemp("router") / "team")


@pytest.fixture(scope="module")
def story(team: Cli) -> Story:
    """Every command of the life, in order, with what it came to."""
    told: Story = {}

    def job(chapter: str, **how: Any) -> None:
        write_job(team, **how)
        told[chapter] = team("jobs", "run", "router", "--quiet")
        told[f"{chapter}: models"] = team.json("models", "show", "router")

    def promote(chapter: str, version: int, *options: str) -> None:
        told[chapter] = team("models", "promote", "router", version, *options)
        told[f"{chapter}: champion"] = team.json("models", "list")[0]["champion"]["version"]

    job("first", quality=0.9)
    job("worse", quality=0.7)
    job("same", quality=0.9, is_short=True)
    job("shuffled", quality=0.96, shuffle=True)
    told["shown"] = team.ok("models", "show", "router@2")
    promote("shuffled again", 3, "--dry-run")
    promote("no reason", 2, "--override")
    baseline = team.json("runs", "list", "--template", "train", "--limit", 100)[-1]["folder"]
    told["evaluated"] = team.json(
        *("run", "evaluate", "-p", "model=registry:router@3"),
        *("-p", f"baseline={team.folder / baseline / 'scraps' / 'model'}"),
        *("-p", f"champion=registry:{ROUTER}?"),
    )
    promote("dry", 3, "--dry-run")
    promote("override", 2, "--override", "--reason", "it knows the new numbers")
    promote("stale", 3)
    told["back?"] = team("models", "rollback", "router", "--dry-run")
    told["back"] = team("models", "rollback", "router", "--reason", "it was worse after all")
    promote("better", 3)
    promote("twice", 3)
    told["history"] = team.json("models", "show", "router")["history"]
    return told


def verdicts(decision: Any) -> dict[str, str]:
    return {verdict["gate"]: verdict["outcome"] for verdict in decision}


def champion(story: Story, chapter: str) -> int:
    version = story[f"{chapter}: models"]["champion"]["version"]
    assert isinstance(version, int)
    return version


def test_the_first_promotion_is_a_case_of_its_own(story: Story) -> None:
    done: Done = story["first"]

    assert (done.code, done.err) == (0, "")
    said = done.out.splitlines()
    assert "router@champion → version 1" in said
    assert "  It is the first version to serve: there was no champion to compare with." in said
    assert (
        "    First promotion: there is no champion to compare with; 3 other gates decide." in said
    )
    assert sum(line.startswith("  ✓ ") for line in said) == 4
    assert champion(story, "first") == 1


def test_the_summary_names_notebooks_a_page_and_three_commands(team: Cli, story: Story) -> None:
    parts = story["first"].out.split("\n\n")
    after = dict(pairwise(parts))

    notebooks = [line.split()[-1] for line in after["Executed notebooks"].splitlines()]
    assert len(notebooks) == 3
    assert all((team.folder / notebook).is_file() for notebook in notebooks)
    page = team.folder / after["Report"].strip()
    assert "router@champion" in page.read_text()
    commands = [line.partition("#")[0].split() for line in after["Try next"].splitlines()]
    assert [command[:3] for command in commands] == [
        ["nbprod", "models", "show"],
        ["nbprod", "runs", "open"],
        ["nbprod", "export", "router@champion"],
    ]
    assert team(*commands[1][1:]).code == 0


def test_a_worse_model_is_blocked_with_exit_code_3(story: Story) -> None:
    done: Done = story["worse"]

    assert (done.code, done.err) == (3, "")
    assert "  1 gate did not pass. router@champion stays version 1." in done.out.splitlines()
    assert champion(story, "worse") == 1
    event, *_ = story["worse: models"]["history"]
    assert (event["event"]["action"], event["event"]["version"]) == ("refuse", 2)
    assert verdicts(event["verdicts"]) == {
        "accuracy at least 0.6": "passed",
        "accuracy not worse than champion by 0.05": "failed",
        "accuracy beats baseline": "passed",
        "latency_p95_ms at most 150": "passed",
    }


def test_a_refused_version_says_why_to_whoever_looks_at_it(story: Story) -> None:
    shown = story["shown"]

    assert "router: Which of four ways should a message go?\n  champion: version 1\n" in shown
    assert "\nversion 2, registered " in shown
    assert "\n  with      quality=0.7\n  numbers   quality 0.7\n" in shown
    assert (
        "  ✗ failed  accuracy not worse than champion by 0.05\n"
        "      accuracy 0.7000 against the champion's 0.9000 on the same 600 examples: "
    ) in shown
    assert "  refused      version 2; version 1 stays champion\n" in shown
    assert "                accuracy not worse than champion by 0.05: failed\n" in shown
    assert ": it has decided 1 promotion before.\n\nhistory\n" in shown


def test_an_identical_model_is_never_promoted_anew(story: Story) -> None:
    assert story["same"].code == 0
    assert "router: nothing to promote" in story["same"].out.splitlines()
    assert [entry["version"] for entry in story["same: models"]["versions"]] == [2, 1]
    assert (story["twice"].code, story["twice"].err) == (0, "")
    assert story["twice"].out.endswith(
        "unchanged: The candidate is router version 3, byte for byte, and that is the champion "
        "already: there is nothing to promote.\n"
    )


def test_shuffled_labels_promote_nothing(story: Story) -> None:
    assert story["shuffled"].code == 3
    assert champion(story, "shuffled") == 1
    again: Done = story["shuffled again"]
    assert again.code == 3
    assert again.out.endswith("would block: Nothing was moved: this was a dry run.\n")
    assert "  ✗ failed  accuracy at least 0.6\n" in again.out


def test_a_dry_run_moves_and_records_nothing(story: Story) -> None:
    done: Done = story["dry"]

    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("\nwould promote: Nothing was moved: this was a dry run.\n")
    assert story["dry: champion"] == 1
    assert [event["event"]["action"] for event in story["history"]].count("promote") == 3


def test_an_override_needs_a_reason(story: Story) -> None:
    done: Done = story["no reason"]

    assert done == Done(
        2,
        "",
        "router version 2 was not promoted: an override needs a reason.\n"
        "It stays on record for ever, beside the verdicts it overrules.\n"
        'Say why: nbprod models promote router 2 --override --reason "what justifies it"\n',
    )
    assert story["no reason: champion"] == 1


def test_an_override_stays_on_record(team: Cli, story: Story) -> None:
    done: Done = story["override"]

    assert (done.code, story["override: champion"]) == (0, 2)
    assert done.out.endswith(
        "\noverridden: router@champion → version 2 (was version 1).\n"
        "The reason given stays on record: it knows the new numbers\n"
    )
    entry = next(event for event in story["history"] if event["event"]["is_override"])
    assert entry["event"]["reason"] == "it knows the new numbers"
    assert "failed" in verdicts(entry["verdicts"]).values()
    shown = team.ok("models", "show", "router")
    assert "  promoted     champion → version 2 (was 1), OVERRIDING its gates\n" in shown
    assert "  it knows the new numbers\n" in shown


def test_evidence_against_another_champion_is_stale(story: Story) -> None:
    done: Done = story["stale"]

    assert (done.code, story["stale: champion"]) == (3, 2)
    text = " ".join(done.out.split())
    assert (
        "? unknown accuracy not worse than champion by 0.05 The champion has changed since" in text
    )
    assert text.endswith(
        "blocked: Version 3 was not promoted: 1 gate did not pass. router@champion stays version 2."
    )


def test_a_rollback_says_where_it_goes_and_goes_there(story: Story) -> None:
    assert story["back?"] == Done(
        0, "router@champion would go back to version 1. Nothing was moved.\n", ""
    )
    assert story["back"] == Done(0, "router@champion → version 1 (was version 2).\n", "")


def test_a_better_model_is_promoted(story: Story) -> None:
    done: Done = story["better"]

    assert (done.code, story["better: champion"]) == (0, 3)
    assert done.out.endswith("\npromoted: router@champion → version 3 (was version 1).\n")
    assert " of 600 examples: it has decided 4 promotions before.\n" in done.out


def test_the_whole_history_is_kept(story: Story) -> None:
    events = [
        (event["event"]["action"], event["event"]["version"], event["event"]["former"])
        for event in reversed(story["history"])
    ]

    assert events == [
        ("promote", 1, None),
        ("refuse", 2, 1),
        ("refuse", 3, 1),
        ("promote", 2, 1),
        ("refuse", 3, 2),
        ("rollback", 1, 2),
        ("promote", 3, 1),
    ]


def test_lineage_leads_back_to_the_run(team: Cli, story: Story) -> None:
    shown = team.json("models", "show", ROUTER)["shown"]

    run = team.json("runs", "show", shown["lineage"]["run"])
    assert (run["template"], run["parameters"]) == ("train", {"quality": 0.96})
    assert shown["lineage"]["notebook_digest"] == run["notebook_digest"]
    assert shown["scraps"] == {"quality": 0.96}
    evaluated = story["evaluated"]
    assert evaluated["lineage"]["models"]["model"] == shown["digest"]
    assert evaluated["parameters"]["model"] == str(team.folder / ".nbprod/models/router/3")


def test_a_file_that_was_edited_by_hand_is_named_and_nothing_loads(
    team: Cli, story: Story, tmp_path: Path
) -> None:
    folder = Path(team.ok("models", "path", ROUTER).strip())
    assert team.ok("models", "verify", ROUTER) == (
        f"{ROUTER} is version 3: 3 files, 302 B, all as recorded.\n  {folder}\n"
    )
    weights = folder / "weights.npy"
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")

    refused = [
        team("models", "verify", ROUTER),
        team("models", "path", ROUTER),
        team("export", ROUTER, tmp_path / "out"),
        team("run", "evaluate", "-p", f"model=registry:{ROUTER}"),
    ]

    first, second, third, *_ = refused[0].err.splitlines()
    assert first == "router version 3 is not what was registered; it was not loaded."
    assert second == f"In {folder}:"
    assert third.startswith("  weights.npy was changed: its sha256 is ")
    assert refused[0].err.endswith(
        "The original is intact in the artifact store. "
        "Put it back: nbprod models verify router@3 --repair\n"
    )
    assert refused == [Done(1, "", refused[0].err)] * 4
    assert not (tmp_path / "out").exists()
    assert team("models", "verify", "router@3", "--repair").code == 0
    assert team("models", "path", ROUTER) == Done(0, f"{folder}\n", "")


def test_an_export_is_checked_without_nbprod(team: Cli, story: Story, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.rmtree(out, ignore_errors=True)

    assert team("export", ROUTER, out) == Done(
        0, f"router version 3 → {out}\n", f"Check it: cd {out} && sha256sum -c SHA256SUMS\n"
    )
    checked = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=out, capture_output=True, text=True, check=True
    )
    assert "weights.npy: OK\n" in checked.stdout
    verdicts = json.loads((out / "verdicts.json").read_text())
    assert "the champion's 0.9000" in json.dumps(verdicts)
    assert json.loads((out / "lineage.json").read_text())["lineage"]["parameters"] == {
        "quality": 0.96
    }
    before = sorted(out.iterdir())
    assert team("export", ROUTER, out) == Done(
        1,
        "",
        f"router@3 was not exported to {out}.\n"
        "It is not empty, and nothing is overwritten.\n"
        f"Name a folder that does not exist yet: nbprod export router@3 {out}-2\n",
    )
    assert sorted(out.iterdir()) == before


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            ("run", "evaluate", "-p", "model=registry:router@9"),
            "Parameter model asks for registry:router@9, which does not exist.\n"
            "No version of that name holds that alias or number.\n"
            "See what is registered, or end the reference with ? to allow none: "
            "nbprod models list\n",
        ),
        (
            ("run", "evaluate", "-p", "model=models:/router@champion"),
            "models:/router@champion needs an MLflow server.\n"
            "MLFLOW_TRACKING_URI is not set.\n"
            "Say where it is: export MLFLOW_TRACKING_URI=http://127.0.0.1:5000\n",
        ),
        (
            ("models", "show", "ruter"),
            "No model named 'ruter' is registered here.\n"
            "Registered: router.\n"
            "Take one of those, or promote a run's model first: nbprod models list\n",
        ),
        (
            ("models", "promote", "router", "9"),
            "router@9 does not exist.\n"
            "router has versions 1 to 3, champion (version 3).\n"
            "See its versions and aliases: nbprod models show router\n",
        ),
        (
            ("models", "path", "router@challenger"),
            "router@challenger does not exist.\n"
            "router has versions 1 to 3, champion (version 3).\n"
            "See its versions and aliases: nbprod models show router\n",
        ),
    ],
    ids=["registry:", "models:/", "name", "version", "alias"],
)
def test_a_model_that_is_not_there(
    team: Cli, story: Story, asked: tuple[str, ...], said: str
) -> None:
    before = len(team.json("runs", "list", "--limit", 100))

    assert team(*asked) == Done(2, "", said)

    assert len(team.json("runs", "list", "--limit", 100)) == before
