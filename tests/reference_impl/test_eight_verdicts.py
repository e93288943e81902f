"""Each system, trained and exported at the tiny size, gets the verdict that is stated for it."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from auditor.audit import Plan, audit
from auditor.run.sandbox import missing
from auditor.submission import Submission
from auditor.verdict import Outcome
from reference_impl.corpus import TOKENIZER_NAME, build_corpus
from reference_impl.export import export_records
from reference_impl.presets import preset
from reference_impl.variants import AS_PUBLISHED, NAMES, RECORDS, VARIANTS, variant

REFERENCE = Path(__file__).parents[2] / "docs" / "reference.md"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    build_corpus(folder, preset("tiny").vocab_size)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("record", RECORDS)
def test_the_verdict_is_the_one_that_is_stated(
    tmp_path: Path, data: Path, record: str, name: str
) -> None:
    reason = missing("bubblewrap")
    if reason is not None:
        pytest.skip(reason)
    settings = replace(
        preset(record, "tiny"),
        data_path=str(data),
        tokenizer_path=str(data / TOKENIZER_NAME),
        iterations=60,  # the verdict is on the code; how well the network is trained is not in it
        val_tokens=20_000,
    )
    (folder,) = export_records(settings, [variant(record, name)], tmp_path)
    verdict = audit(Submission.load(folder), Plan(run=True))
    failed = {result.rule for result in verdict.results if result.outcome is Outcome.FAIL}
    assert failed == set(variant(record, name).fails)
    if name != AS_PUBLISHED:
        assert verdict.outcome is Outcome.PASS


def test_the_reference_states_what_the_table_states() -> None:
    sections = re.split(r"^## ", REFERENCE.read_text(), flags=re.MULTILINE)
    for record in RECORDS:
        number = "#" + record.removeprefix("pr")
        (section,) = (text for text in sections if text.startswith(number))
        (stated,) = re.findall(r"^Fails: (.+)\.$", section, flags=re.MULTILINE)
        assert set(re.findall(r"`([a-z-]+)`", stated)) == set(VARIANTS[record, AS_PUBLISHED].fails)


def test_only_published_systems_fail() -> None:
    for system in VARIANTS.values():
        assert bool(system.fails) == (system.name == AS_PUBLISHED)
