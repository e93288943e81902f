"""The command `reevaluate`: the script at its own size, on the real shards."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from auditor.cli_common import complain
from auditor.cli_proof import SandboxOption, SecondsOption
from auditor.errors import AuditorError, SubmissionError
from auditor.report.words import clean

CLOSE_BPB = 0.003
"""Seeds of one record lie within it."""


def reevaluate(
    folder: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER", help="Record folder, archive or GITDIR@REF:FOLDER with the script."
        ),
    ],
    shards: Annotated[
        Path,
        typer.Argument(
            metavar="SHARDS", help="Folder with fineweb_val_*.bin, and fineweb_train_*.bin."
        ),
    ],
    tokenizer: Annotated[Path, typer.Option(help="Sentencepiece model of the shards.")],
    shipped: Annotated[
        bool,
        typer.Option(
            "--shipped",
            help="Score the folder's model; one step of training is thrown away.",
        ),
    ] = False,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Over the scored run's; repeatable."),
    ] = None,
    ranks: Annotated[
        int, typer.Option(help="Processes of the script, as torchrun starts them.", min=1, max=8)
    ] = 1,
    tolerance: Annotated[
        float, typer.Option(help="Bits a byte that a repeated run may differ by.", min=0)
    ] = CLOSE_BPB,
    sandbox: SandboxOption = "bubblewrap",
    seconds: SecondsOption = 36_000.0,
    output: Annotated[Path | None, typer.Option(help="Write the figures there, as JSON.")] = None,
) -> None:
    """Run the script unmodified at its own size, and put its score beside the claim.

    Settings are those of the scored run, as logs and run lines show them. CUDA is stood in for
    where there is none, in 32 bits, so that a record takes hours on a CPU; small ones take minutes.
    That a score is met again shows where it comes from, not that it is the length of a code:
    `auditor audit --run` and `--prove` are for that.

    Exit 0 within the tolerance of the claim; 1 where the shipped model scores worse, on as many
    tokens as the logs say and without --set; 3 where another score differs, or nothing is claimed;
    2 where no score was measured.

    Examples:

        auditor reevaluate my_record shards --tokenizer fineweb_1024_bpe.model --shipped

        auditor reevaluate my_record shards --tokenizer 1024.model --set EVAL_ONLY=1
    """
    from auditor.bars import passing_bar
    from auditor.evidence import ClaimedNumbers
    from auditor.inspect import inspect
    from auditor.inspect.environment import scored_environment
    from auditor.run.claimed import claimed
    from auditor.run.full import Given, measure, why_other
    from auditor.submission import Submission

    try:
        submission = Submission.load(folder)
        evidence = inspect(submission)
        claims = claimed(evidence)
        given = Given(
            shards=shards,
            tokenizer=tokenizer,
            launch=scored_environment(submission),
            settings=_settings(setting or []),
            shipped=shipped,
            ranks=ranks,
            seconds=seconds,
            sandbox=sandbox,
        )
        with passing_bar() as bar:
            task = bar.add_task("starting", total=None, name=submission.name[:40])
            measured = measure(
                submission,
                given,
                claims,
                lambda line: bar.update(task, description=clean(line)[:80]),
            )
    except AuditorError as error:
        complain(folder, error)
        raise typer.Exit(2) from error
    numbers = evidence.get(ClaimedNumbers)
    claim = numbers.val_bpb if numbers else None
    for name in (*measured.overrides, *(f"stand-in: {one}" for one in measured.stand_ins)):
        print(name, file=sys.stderr)
    score = f"{measured.val_bpb:.8f} bits a byte, {measured.val_loss:.8f} nats a token"
    print(f"{measured.label}: {score}")
    print(
        f"{measured.seconds:,.0f} s, {measured.processor_seconds:,.0f} s of a processor, on "
        f"{measured.machine}"
    )
    code = 3
    if claim is None:
        print("nothing is claimed to hold it against")
    else:
        more = measured.val_bpb - claim
        within = abs(more) <= tolerance
        other = why_other(given, claims)
        code = 0 if within else 1 if more > 0 and measured.replaced and other is None else 3
        what = f"the shipped {', '.join(measured.replaced)}" if measured.replaced else "this run"
        print(
            f"claimed: {claim:.8f}; {what} differs by {more:+.8f}, "
            f"{'within' if within else 'more than'} the tolerance of {tolerance:g}"
            + (f"; not the claimed measurement: {other}" if other else "")
        )
    if output is not None:
        figures = asdict(measured) | {"claimed_bpb": claim, "tolerance_bpb": tolerance}
        output.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    raise typer.Exit(code)


def _settings(pairs: list[str]) -> dict[str, str]:
    split = {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
    if wrong := [pair for pair in pairs if not pair.partition("=")[0].isidentifier()]:
        raise SubmissionError(f"--set {wrong[0]}: expected NAME=VALUE")
    return split
