"""All rules, in the order of a report; one property a file, its docstring is its documentation."""

from auditor.rules import (
    artifact_only,
    artifact_size,
    byte_denominator,
    causal_cache,
    claims_match,
    context_only_keys,
    full_coverage,
    full_distribution,
    packaging,
    score_before_update,
    seeds,
    single_pass,
    strict_prefix,
    time_budget,
    train_val_overlap,
    validation_independence,
)

RULES = (
    strict_prefix.RULE,
    full_distribution.RULE,
    score_before_update.RULE,
    single_pass.RULE,
    context_only_keys.RULE,
    causal_cache.RULE,
    artifact_size.RULE,
    artifact_only.RULE,
    validation_independence.RULE,
    byte_denominator.RULE,
    full_coverage.RULE,
    time_budget.RULE,
    train_val_overlap.RULE,
    claims_match.RULE,
    seeds.RULE,
    packaging.RULE,
)
