"""All rules, in the order of a report; one property a file, its docstring is its documentation."""

from auditor.rules import (
    artifact_only,
    artifact_size,
    byte_denominator,
    causal_cache,
    claims_match,
    context_only_keys,
    full_distribution,
    packaging,
    score_before_update,
    single_pass,
    strict_prefix,
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
    claims_match.RULE,
    packaging.RULE,
)
