"""Mixtures of the true token's probability: some are of no distribution, most are innocent."""

import pytest

from auditor.evidence import LearningOrder
from auditor.inspect.mixtures import KNOWN, SPELLED, WEIGHED
from auditor.rules import full_distribution
from auditor.rulesets import DEFAULT
from auditor.verdict import Outcome, Strength
from tests.auditor.inspect.programs import changed
from tests.auditor.inspect.test_order import evidence_of, failed_rules

TOTAL = "        total += mixed.item() * 64\n"
BEFORE = "    total, seen = 0.0, 0\n"
PIECES = "    pieces = [tokenizer.id_to_piece(number).encode() for number in range(1024)]\n"
SPELL = """
        spelled = 0.0
        for byte in pieces[int(y[0])]:
            spelled += math.log(counts.read(byte).max())
        p = math.exp(-mixed.item())
"""
COUNT = """
        nll = mixed.item()
        row = rows.setdefault(int(x[-1]), {})
        size = sum(row.values())
"""


def script(body: str, before: str = "") -> str:
    return changed([(TOTAL, body.removeprefix("\n")), (BEFORE, BEFORE + before)])


WRONG = {
    "a weight that grows with the loss of the token that it is for": (
        {WEIGHED},
        """
        nll = mixed.item()
        alpha = 0.5 * min(1.0, nll / 3.0)
        total -= math.log((1.0 - alpha) * math.exp(-nll) + alpha * counts.read(x).max()) * 64
""",
        "",
    ),
    "the same of an array, by a sigmoid": (
        {WEIGHED},
        """
        losses = mixed.cpu().numpy()
        p = np.exp(-losses)
        heat = 2.0 * losses - 3.0
        alpha = 1.0 / (1.0 + np.exp(-heat))
        total -= np.log((1 - alpha[seen]) * p[seen] + alpha[seen] * counts.read(x)).sum() * 64
""",
        "",
    ),
    "a mixture made only where the table has counted the token": (
        {KNOWN},
        COUNT
        + """
        share = row.get(int(y[0]), 0) / max(size, 1)
        if share > 0:
            nll = -math.log(0.9 * math.exp(-nll) + 0.1 * share)
        total += nll * 64
""",
        "    rows = {}\n",
    ),
    "the product of the probabilities of a token's bytes": (
        {SPELLED},
        SPELL + "        total -= math.log(0.5 * p + 0.5 * math.exp(spelled)) * 64\n",
        PIECES,
    ),
}

INNOCENT = {
    "a weight made from the losses before": (
        """
        nll = mixed.item()
        alpha = 0.5 * min(1.0, last / 3.0)
        total -= math.log((1.0 - alpha) * math.exp(-nll) + alpha * counts.read(x).max()) * 64
        last = nll
""",
        "    last = 1.0\n",
    ),
    "a weight made from the row of the context": (
        """
        nll = mixed.item()
        alpha = 0.5 * counts.read(x).max()
        total -= math.log((1.0 - alpha) * math.exp(-nll) + alpha * counts.read(x).max()) * 64
""",
        "",
    ),
    "a weight made from how many losses there are": (
        """
        losses = mixed.cpu().numpy()
        alpha = np.full(len(losses), 0.1) + 0 * np.zeros_like(losses)
        total -= np.log((1 - alpha) * np.exp(-losses) + alpha * counts.read(x)).sum() * 64
""",
        "",
    ),
    "a weight made from the loss of the token before": (
        """
        losses = mixed.cpu().numpy()
        alpha = 0.1 * losses[:-1]
        total -= np.log((1 - alpha) * np.exp(-losses) + alpha * counts.read(x)).sum() * 64
""",
        "",
    ),
    "a mixture made where the table knows the context": (
        COUNT
        + """
        share = row.get(int(y[0]), 0) / max(size, 1)
        if size > 0:
            nll = -math.log(0.9 * math.exp(-nll) + 0.1 * share)
        total += nll * 64
""",
        "    rows = {}\n",
    ),
    "a share that no token lacks": (
        COUNT
        + """
        share = (row.get(int(y[0]), 0) + 1) / (size + 1024)
        if share > 0:
            nll = -math.log(0.9 * math.exp(-nll) + 0.1 * share)
        total += nll * 64
""",
        "    rows = {}\n",
    ),
    "a product that is divided by what all products add up to": (
        SPELL + "        total -= math.log(0.5 * p + 0.5 * math.exp(spelled - whole)) * 64\n",
        PIECES + "    whole = sum(all_spelled)\n",
    ),
    "a mixture byte by byte": (
        """
        for byte in pieces[int(y[0])]:
            total -= math.log(0.5 * model.bytes(x)[byte] + 0.5 * counts.read(byte).max())
""",
        PIECES,
    ),
    "a mixture that the claimed score does not come through": (
        """
        nll = mixed.item()
        alpha = 0.5 * min(1.0, nll / 3.0)
        other = -math.log((1.0 - alpha) * math.exp(-nll) + alpha * counts.read(x).max()) * 64
        total += nll * 64
""",
        "",
    ),
    "a branch that is not taken": (
        """
        nll = mixed.item()
        alpha = 0.5 * min(1.0, nll / 3.0)
        if args.epochs > 0:
            alpha = 0.1
        total -= math.log((1.0 - alpha) * math.exp(-nll) + alpha * counts.read(x).max()) * 64
""",
        "",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_kind_fails_and_nothing_else_does(name):
    kinds, body, before = WRONG[name]
    assert failed_rules(script(body, before)) == {"full-distribution"}
    evidence = evidence_of(script(body, before))
    order = evidence.get(LearningOrder)
    assert order is not None
    assert {one.kind for one in order.mixed} == kinds
    judged = full_distribution.RULE.check(evidence, DEFAULT)
    assert judged.strength is Strength.SOURCE
    assert "two probabilities of the true token" in judged.findings[0].message


@pytest.mark.parametrize("name", INNOCENT)
def test_what_looks_like_it_is_innocent(name):
    evidence = evidence_of(script(*INNOCENT[name]))
    judged = full_distribution.RULE.check(evidence, DEFAULT)
    assert judged.outcome is Outcome.INCONCLUSIVE
    assert judged.findings == ()
