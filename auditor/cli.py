"""The `auditor` command: parse, call, print, exit; the files `cli*` are all that does."""

import sys
import textwrap
from dataclasses import replace
from typing import Annotated

import typer

from auditor import (
    __version__,
    cli_attest,
    cli_corpus,
    cli_evaluate,
    cli_gate,
    cli_proof,
    cli_prove,
    cli_reevaluate,
    cli_render,
    cli_setup,
    cli_submit,
)
from auditor.cli_common import (
    BudgetOption,
    ExperimentOption,
    FailOn,
    FailOnOption,
    HtmlOption,
    OutputOption,
    RulesetOption,
    RunOption,
    SandboxOption,
    SecondsOption,
    TogetherOption,
    audit_all,
    loaded,
    plan_of,
)
from auditor.cli_render import Format, FormatOption, show

EXIT_CODES = """\
Exit codes: 0 pass, 1 fail, 2 could not audit (bad arguments, unreadable input, a run that did not
come to an end), 3 inconclusive. Of several submissions the worst counts: 1, then 2, then 3."""

app = typer.Typer(
    help="Prove whether a language model's score is a real code length.\n\n" + EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command()
def audit(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Record folders, archives, or GITDIR@REF:FOLDER; several compare.",
        ),
    ],
    run: RunOption = False,
    sandbox: SandboxOption = "bubblewrap",
    run_seconds: SecondsOption = 300.0,
    experiment: ExperimentOption = None,
    budget: BudgetOption = 120.0,
    ranks: Annotated[
        int | None, typer.Option(help="Processes of a run on noise; else as the script asks.")
    ] = None,
    together: TogetherOption = None,
    ruleset: RulesetOption = "2026-05-02",
    against: Annotated[
        str | None, typer.Option(help="The earlier record that these are said to beat.")
    ] = None,
    output_format: FormatOption = Format.TEXT,
    output: OutputOption = None,
    html: HtmlOption = None,
    prove: cli_prove.ProveOption = None,
    prove_tokens: cli_prove.ProveTokensOption = None,
    proof: cli_prove.ProofOption = None,
    prove_windows: cli_prove.WindowsOption = 44,
    tokenizer: cli_proof.TokenizerOption = None,
    attest: cli_attest.AttestOption = None,
    key: cli_attest.KeyOption = None,
    fail_on: FailOnOption = FailOn.INCONCLUSIVE,
) -> None:
    """Audit record folders; nothing of them is executed unless --run is given.

    Examples:

        auditor audit records/track_10min_16mb/my_record

        auditor audit my_record --run --html report.html

        auditor audit parameter-golf.git@refs/pull/779/head:records/track_10min_16mb/some_record
    """
    plan = plan_of(
        run, sandbox, run_seconds, experiment, budget, ruleset, ranks=ranks, together=together
    )
    signer = cli_attest.signer(attest, key, len(paths))
    if prove is not None:
        proving = cli_prove.proving(prove, prove_tokens, proof, prove_windows, tokenizer, sandbox)
        plan = replace(plan, proving=proving)
    if against is not None:
        plan = replace(plan, against=loaded(against))
    documents, code = audit_all(paths, plan, fail_on)
    show(documents, output_format, output, html)
    if attest is not None and documents:
        cli_attest.write_envelope(attest, documents[0], signer)
    raise typer.Exit(code)


@app.command()
def rules() -> None:
    """List the rules, and what each can be judged by."""
    from rich.console import Console
    from rich.table import Table

    from auditor.change_rules import CHANGE_RULES
    from auditor.rules import RULES

    table = Table("rule", "property", "authority", "judged by, strongest first")
    for rule in RULES:
        kinds = ", ".join(kind.__name__ for kind in rule.needs)
        table.add_row(rule.id, rule.title, rule.authority, kinds)
    known = {rule.id for rule in RULES}
    for one in CHANGE_RULES:
        if one.id not in known:
            table.add_row(one.id, one.title, one.authority, "the change, in `auditor gate`")
    Console().print(table)


@app.command()
def explain(
    rule: Annotated[str, typer.Argument(help="Rule id, as `auditor rules` lists.")],
) -> None:
    """Print what a rule asks, how it is judged and how it can be wrong."""
    from auditor.change_rules import CHANGE_RULES
    from auditor.rules import RULES

    everything = (*RULES, *CHANGE_RULES)
    for known in everything:
        if known.id == rule:
            print(f"{known.id}: {known.title} ({known.authority})\n")
            print(textwrap.dedent(known.documentation).strip())
            print(f"\nWhy it matters: {known.matters}\nTo mend it: {known.mend}")
            return
    ids = ", ".join(dict.fromkeys(known.id for known in everything))
    print(f"auditor: no rule {rule!r}; expected one of {ids}", file=sys.stderr)
    raise typer.Exit(2)


@app.command()
def doctor() -> None:
    """Say what works on this machine, how to get what does not, and what each sandbox stops."""
    from auditor.doctor import examine

    checks = examine()
    for check in checks:
        print(f"{check.state:<8} {check.what}{f': {check.detail}' if check.detail else ''}")
    raise typer.Exit(2 if any(check.state == "missing" for check in checks) else 0)


for command in (
    cli_gate.gate,
    cli_render.render,
    cli_corpus.sweep,
    cli_corpus.summarise,
    cli_corpus.score,
    cli_evaluate.evaluate,
    cli_reevaluate.reevaluate,
    cli_proof.encode,
    cli_proof.decode,
    cli_proof.replay,
    cli_attest.keygen,
    cli_attest.verify,
    cli_setup.init,
    cli_setup.man,
    cli_submit.submit,
):
    app.command()(command)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"strict-prefix {__version__}")
        raise typer.Exit


def main() -> None:
    """Entry point of the command."""
    app()
