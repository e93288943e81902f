"""The audit of a change: verdicts, rules about it, what is accepted, and the document."""

import datetime
import json
from collections.abc import Mapping
from importlib.resources import files as resources
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource

from auditor.audit import Plan, audit
from auditor.change_rules import CHANGE_RULES, Facts, judge_change
from auditor.corpus import Bounds
from auditor.errors import SubmissionError
from auditor.gate import Change, change_set
from auditor.gate_audit import Asked, audit_change, read_leaders
from auditor.gate_config import GateConfig, Leader, parse_config, parse_leaderboard, read_config
from auditor.report.entries import Report, findings
from auditor.report.json_v1 import verdict_to_json
from auditor.report.junit import render_junit
from auditor.report.markdown import render_markdown
from auditor.report.sarif import render_sarif
from auditor.submission import Submission
from tests.auditor.repositories import Repository
from tests.systems import record

TODAY = datetime.date(2026, 5, 2)
TRACK = "records/track_10min_16mb"
LOG = "seed:{seed}\nfinal_ttt_exact val_loss:{loss} val_bpb:{bpb}\n"


def schema(name: str) -> Any:
    return json.loads(resources("auditor.report").joinpath(name).read_text())


VALIDATOR = jsonschema.Draft202012Validator(
    schema("gate-v1.schema.json"),
    registry=Registry().with_resources(
        [("urn:strict-prefix:verdict:v1", Resource.from_contents(schema("verdict-v1.schema.json")))]
    ),
)


BOUNDS = Bounds(plan=Plan())


def small(
    folder: str, twin: str | None = None, changes: Mapping[str, bytes] | None = None
) -> dict[str, bytes]:
    """The small honest submission below a folder."""
    files = {path: file.data for path, file in record(twin).files.items()} | {**(changes or {})}
    return {f"{folder}/{path}": data for path, data in files.items()}


@pytest.fixture
def repository(tmp_path):
    made = Repository(tmp_path)
    made.commit({"README.md": "x", **small(f"{TRACK}/first")})
    made.branch()
    return made


def gated(repository: Repository, bounds: Bounds = BOUNDS, **config: Any) -> dict[str, Any]:
    """The document of a gate, as it comes back from storage; always of the shape it promises."""
    change = change_set(repository.path, "main", "topic")
    base = repository.git("rev-parse", "main")
    settings = GateConfig(**config)
    asked = Asked(
        bounds=bounds,
        config=settings,
        leaders=read_leaders(repository.path, base, settings),
        today=TODAY,
    )
    document: dict[str, Any] = json.loads(
        json.dumps(audit_change(repository.path, base, change, asked))
    )
    VALIDATOR.validate(document)
    render_junit(Report.of_gate(document))
    render_sarif(Report.of_gate(document))
    return document


def outcomes(document: dict[str, Any]) -> dict[str, str]:
    return {result["rule"]: result["outcome"] for result in document["results"]}


def test_a_new_record_has_the_verdict_that_it_has_everywhere(repository):
    repository.commit(small(f"{TRACK}/second", changes={"notes.txt": b"of the second"}))
    document = gated(repository)
    (one,) = document["records"]
    assert (one["folder"], one["error"]) == (f"{TRACK}/second", None)
    alone = verdict_to_json(audit(Submission.from_git(repository.path, "topic", f"{TRACK}/second")))
    assert one["verdict"]["digest"] == alone["digest"]
    assert one["verdict"]["submission"]["folder"] == f"{TRACK}/second"
    assert outcomes(document) == {
        "one-record": "pass",
        "nothing-else": "pass",
        "frontier": "not-applicable",
        "significance": "not-applicable",
    }


def test_a_second_record_and_other_files_fail_with_their_paths(repository):
    repository.commit(small(f"{TRACK}/second", "dies") | small(f"{TRACK}/third", "hangs"))
    repository.commit({f"{TRACK}/second/{at}.py": str(at) for at in range(6)})
    repository.commit({f"{TRACK}/third/{at}.txt": str(at) for at in range(6)})
    repository.commit({".github/workflows/x.yml": "on: push"} | small(f"{TRACK}/first", "dies"))
    document = gated(repository)
    assert document["outcome"] == "fail"
    said = {
        result["rule"]: [found["location"]["file"] for found in result["findings"]]
        for result in document["results"]
        if result["outcome"] == "fail"
    }
    assert said == {
        "one-record": [f"{TRACK}/second", f"{TRACK}/third"],
        "nothing-else": [f"{TRACK}/first", ".github/workflows/x.yml"],
    }


def test_a_change_without_a_record_passes_and_a_deletion_is_for_a_person(repository):
    repository.commit({"README.md": "y"})
    assert gated(repository)["outcome"] == "pass"
    repository.git("rm", "-rq", f"{TRACK}/first")
    repository.commit()
    document = gated(repository)
    assert document["outcome"] == "inconclusive"
    assert outcomes(document)["nothing-else"] == "inconclusive"
    (gone,) = document["records"]
    assert (gone["change"], gone["outcome"], gone["verdict"]) == ("deleted", None, None)


# So short a limit can end while git is being started; git then ends with its pipes.
@pytest.mark.filterwarnings("ignore:subprocess:ResourceWarning")
@pytest.mark.parametrize("names", [["second"], ["second", "third"]])
def test_a_record_that_takes_too_long_is_given_up(repository, names):
    repository.commit({k: v for name in names for k, v in small(f"{TRACK}/{name}").items()})
    document = gated(repository, Bounds(seconds=0.001, plan=Plan()))
    for one in document["records"]:
        assert (one["verdict"], one["error"]) == (None, "not done within 0.001 s")
    assert document["outcome"] == ("inconclusive" if len(names) == 1 else "fail")  # `one-record`


def test_a_record_that_cannot_be_read_stops_no_other(repository):
    repository.commit(small(f"{TRACK}/second", changes={"big.bin": bytes(100)}))
    (repository.path / TRACK / "linked").symlink_to("first")
    repository.commit({f"{TRACK}/strange/a\tb.py": "x"})
    records = {one["folder"].rsplit("/")[-1]: one for one in gated(repository)["records"]}
    assert "expected a record folder, found a symbolic link" in records["linked"]["error"]
    assert "characters that no path needs" in records["strange"]["error"]
    assert records["linked"]["outcome"] == records["strange"]["outcome"] == "inconclusive"
    assert records["second"]["verdict"] is not None, records["second"]["error"]


def test_a_name_that_is_not_utf8_is_shown_and_audited(repository):
    folder = repository.path / TRACK / "caf\udce9"
    folder.mkdir()
    for path, file in record("dies").files.items():
        (folder / path).write_bytes(file.data)
    repository.commit()
    (one,) = gated(repository)["records"]
    assert one["folder"] == rf"{TRACK}/caf\udce9"
    assert one["verdict"] is not None


def accept(document: dict[str, Any], rule: str, until: str = "2026-05-02") -> dict[str, Any]:
    """A baseline that accepts every finding of a rule of the first record."""
    one = document["records"][0]
    found = findings(one["verdict"]["results"], one["folder"], {})
    text = "".join(
        f'[[accept]]\nfinding = "{seen.fingerprint}"\nrule = "{rule}"\nreason = "known, see #1"\n'
        f"until = {until}\n"
        for seen in found
        if seen.rule == rule
    )
    return {"accept": parse_config(text.encode(), "it").accept}


@pytest.fixture
def incomplete(repository):
    """A new record without a README, which fails `packaging` and nothing else."""
    files = small(f"{TRACK}/second", "dies")
    del files[f"{TRACK}/second/README.md"]
    repository.commit(files | {f"{TRACK}/second/notes.txt": "x"})
    return repository


def test_an_accepted_finding_moves_the_outcome_is_shown_and_leaves_the_verdict(incomplete):
    before = gated(incomplete)
    assert before["outcome"] == "fail"
    after = gated(incomplete, **accept(before, "packaging"))
    (one,) = after["records"]
    assert after["outcome"] == one["outcome"] == "inconclusive"
    assert one["verdict"]["outcome"] == "fail"
    assert one["verdict"]["digest"] == before["records"][0]["verdict"]["digest"]
    report = Report.of_gate(after)
    text = render_markdown(report)
    assert "accepted until 2026" in text
    assert "known, see" in text
    shown = [r for r in render_sarif(report)["runs"][0]["results"] if r["ruleId"] == "packaging"]
    assert [one["suppressions"][0]["status"] for one in shown] == ["accepted"]


def test_an_acceptance_that_is_over_or_of_another_rule_changes_nothing(incomplete):
    before = gated(incomplete)
    old = gated(incomplete, **accept(before, "packaging", "2026-05-01"))
    assert old["outcome"] == "fail"
    assert not old["records"][0]["accepted"][0]["counts"]
    assert "which is over" in render_markdown(Report.of_gate(old))
    (entry,) = accept(before, "packaging")["accept"]
    other = type(entry)(finding=entry.finding, rule="seeds", reason="x", until=entry.until)
    assert gated(incomplete, accept=(other,))["outcome"] == "fail"


def test_findings_about_the_change_can_be_accepted_too(repository):
    repository.commit(small(f"{TRACK}/second", "dies") | {"README.md": "one more line"})
    document = gated(repository)
    assert outcomes(document)["nothing-else"] == "fail"
    (seen,) = Report.of_gate(document).findings
    entry = parse_config(
        f'[[accept]]\nfinding = "{seen.fingerprint}"\nrule = "nothing-else"\n'
        'reason = "the table"\nuntil = 2027-01-01'.encode(),
        "it",
    ).accept
    assert gated(repository, accept=entry)["outcome"] != "fail"


COMMENTED = (
    "            full = cache.full[pair] if cache else np.zeros(len(y))\n",
    "            # strict-prefix: accept context-only-keys: a test of the table\n"
    "            full = cache.full[pair] if cache else np.zeros(len(y))\n",
)


@pytest.mark.parametrize("counts", [True, False])
def test_a_comment_accepts_only_where_the_repository_lets_it(repository, counts):
    script = record("unnormalised").files["train_gpt.py"].text
    assert COMMENTED[0] in script
    files = small(f"{TRACK}/second", "unnormalised")
    files[f"{TRACK}/second/train_gpt.py"] = script.replace(*COMMENTED).encode()
    repository.commit(files)
    (one,) = gated(repository, count_comments=counts)["records"]
    (accepted,) = one["accepted"]
    assert (accepted["by"], accepted["counts"]) == ("comment", counts)
    assert accepted["reason"] == "a test of the table"
    report = Report.of_gate(gated(repository, count_comments=counts))
    assert ("does not count here" in render_markdown(report)) is not counts


def test_a_comment_without_a_reason_or_of_another_rule_is_none(repository):
    script = record("unnormalised").files["train_gpt.py"].text
    for comment in ("accept context-only-keys", "accept seeds: why", "accept context-only-keys:"):
        commented = (COMMENTED[0], f"            # strict-prefix: {comment}\n{COMMENTED[0]}")
        files = small(f"{TRACK}/second", "unnormalised")
        files[f"{TRACK}/second/train_gpt.py"] = script.replace(*commented).encode()
        repository.commit(files)
        assert gated(repository, count_comments=True)["records"][0]["accepted"] == []


def test_settings_come_from_the_base_and_never_from_the_change(repository):
    repository.git("checkout", "-q", "main")
    base = repository.commit({".strict-prefix.toml": 'fail-on = "fail"\n'})
    repository.git("checkout", "-q", "topic")
    repository.commit({".strict-prefix.toml": "change-rules = false\n"} | small(f"{TRACK}/c"))
    assert read_config(repository.path, base) == GateConfig(fail_on="fail")
    assert outcomes(gated(repository))["nothing-else"] == "fail"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x =", "expected TOML"),
        ("wishes = 1", "no setting 'wishes'; expected one of accept, change-rules"),
        ('fail-on = "never"', "fail-on must be 'fail' or 'inconclusive', got 'never'"),
        ("change-rules = 1", "change-rules must be bool, got 1"),
        ("ruleset = 1", "ruleset must be text, got 1"),
        ("accept = [1]", "expected tables, got 1"),
        ('[[accept]]\nfinding = "a"\nrule = "b"\nuntil = 2026-01-01', "no reason found"),
        ('[[accept]]\nfinding = "a"\nrule = "b"\nreason = "c"', "no until found"),
        (
            '[[accept]]\nfinding = "a"\nrule = "b"\nreason = " "\nuntil = 2026-01-01',
            "reason must be text, got ' '",
        ),
        (
            '[[accept]]\nfinding = "a"\nrule = "b"\nreason = "c"\nuntil = "soon"',
            "until must be a date such as 2026-12-31, got 'soon'",
        ),
    ],
)
def test_wrong_settings_are_one_sentence_with_the_key(text, said):
    with pytest.raises(SubmissionError, match="it: ") as caught:
        parse_config(text.encode(), "it")
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"records": [{}]}', '{"records": [1]}'])
def test_a_wrong_leaderboard_is_said(text):
    with pytest.raises(SubmissionError, match="expected JSON with records of folder and val_bpb"):
        parse_leaderboard(text.encode(), "it")
    with pytest.raises(SubmissionError, match=r"val_bpb of a must be positive, got nan"):
        parse_leaderboard(b'{"records": [{"folder": "a", "val_bpb": NaN}]}', "it")


LEADERS = (
    Leader(folder=f"{TRACK}/a", val_bpb=1.2),
    Leader(folder=f"{TRACK}/b", val_bpb=1.1),
    Leader(folder="records/track_other/c", val_bpb=0.5),
)


@pytest.mark.parametrize(
    ("folder", "claimed", "outcome"),
    [
        (f"{TRACK}/new", 1.0999, "pass"),
        (f"{TRACK}/new", 1.1, "fail"),
        (f"{TRACK}/b", 1.15, "pass"),
        (f"{TRACK}/new", None, "inconclusive"),
        ("records/track_unknown/new", 9.0, "not-applicable"),
    ],
)
def test_the_frontier_is_the_best_other_record_of_the_track(folder, claimed, outcome):
    facts = Facts(
        records=[Change(folder, "added")], others=(), leaders=LEADERS, claims={folder: claimed}
    )
    (result,) = [one for one in judge_change(facts) if one.rule == "frontier"]
    assert result.outcome.value == outcome
    if outcome == "fail":
        assert "1.1 bits per byte are claimed" in result.findings[0].message


def test_a_record_is_compared_with_the_best_at_the_base_by_its_seeds(repository):
    def seeds(*scores: float) -> dict[str, bytes]:
        return {
            f"train_seed{seed}.log": LOG.format(seed=seed, loss=2 * bpb, bpb=bpb).encode()
            for seed, bpb in enumerate(scores, 1)
        } | {"submission.json": json.dumps({"val_bpb": round(sum(scores) / 3, 5)}).encode()}

    board = {"records": [{"folder": f"{TRACK}/first", "val_bpb": 1.2012}]}
    repository.git("checkout", "-q", "main")
    old = small(f"{TRACK}/first", changes=seeds(1.2010, 1.2012, 1.2014))
    repository.commit({**old, "board.json": json.dumps(board)})
    for name, scores, outcome in (
        ("better", (1.1, 1.101, 1.102), "pass"),
        ("lucky", (1.2009, 1.2012, 1.2014), "fail"),
    ):
        repository.git("checkout", "-qB", "topic", "main")
        repository.commit(
            small(f"{TRACK}/{name}", changes=seeds(*scores)) | {f"{TRACK}/{name}/n": name}
        )
        document = gated(repository, leaderboard="board.json")
        said = outcomes(document)
        assert said["frontier"] == "pass"
        assert said["significance"] == outcome, document["results"][-1]["reason"]
        (verdict,) = [one["verdict"] for one in document["records"]]
        alone = audit(Submission.from_git(repository.path, "topic", f"{TRACK}/{name}"))
        assert verdict["digest"] == verdict_to_json(alone)["digest"]


def test_a_leaderboard_that_is_not_there_is_said(repository):
    repository.commit({"README.md": "y"})
    with pytest.raises(SubmissionError, match=r"board.json: expected a file in"):
        gated(repository, leaderboard="board.json")


def test_many_other_files_are_one_finding_that_names_them_all():
    facts = Facts(records=[Change("records/c", "added")], others=[f"f{at}" for at in range(300)])
    (result,) = [one for one in judge_change(facts) if one.rule == "nothing-else"]
    assert len(result.findings) == 201
    assert "and 100 more" in result.findings[-1].message
    more = Facts(records=facts.records, others=[*facts.others[:-1], "another"])
    (other,) = [one for one in judge_change(more) if one.rule == "nothing-else"]
    assert other.findings[-1].location.text != result.findings[-1].location.text


def test_rules_about_changes_are_documented_like_the_others():
    for rule in CHANGE_RULES:
        for said in ("Motive.", "How it is judged.", "Violates:", "Innocent:", "can be wrong."):
            assert said in rule.documentation, rule.id
        assert rule.matters.endswith(".")
        assert rule.mend.endswith(".")
