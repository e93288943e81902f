"""The command line: train, evaluate, export, ablate, corpus, describe."""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from reference_impl.ablate import RESULTS_NAME, ablate, summarise
from reference_impl.ablate import Progress as Doing
from reference_impl.ablation_report import plot, table
from reference_impl.checkpoint import CheckpointFile
from reference_impl.config import Settings, from_environment
from reference_impl.corpus import TOKENIZER_NAME, build_corpus
from reference_impl.describe import describe
from reference_impl.device import joined_ranks, rank, rank_zero_first
from reference_impl.engine import quickened
from reference_impl.errors import InputError, SettingsError
from reference_impl.export import export_records
from reference_impl.presets import PRESETS, preset
from reference_impl.presets.sizes import SIZES
from reference_impl.quantize.artifact import ARTIFACT_NAME, write_artifact, write_atomically
from reference_impl.quantize.packing import export_model
from reference_impl.record import open_stream, score_artifact, train_weights
from reference_impl.runlog import RunLog
from reference_impl.train import NO_HOOKS, Hooks, Progress
from reference_impl.variants import COMPLIANT, NAMES, variant, variants

SEEDS = "1337,42,2024"
DESCRIPTION = """\
Train, quantise, score and export a small language-model record with an n-gram cache and test-time
training. A record exists twice: as_published shows a score that is not a code length, compliant
the same idea with a real one."""
EPILOG = """\
examples:
  python -m reference_impl export --variant both --output demo
      builds a corpus in demo/data, trains once, writes demo/as_published and demo/compliant
  python -m reference_impl export --variant compliant --output out \\
      --data fineweb_sp1024 --tokenizer fineweb_1024_bpe.model
      the same on challenge shards
  ITERATIONS=300 python -m reference_impl train --output run
      any setting can be given as an environment variable
  python -m reference_impl ablate --preset pr779 --size small --output ablation
      base, adaptation, mixer and full score of both variants with three seeds: table and plot
  python -m reference_impl evaluate --model run/final_model.int6.ptz --variant compliant \\
      --output run

exit codes: 0 done, 2 the input cannot be used (one sentence on standard error says why)"""


class Parser(argparse.ArgumentParser):
    """Reports a wrong argument as one sentence."""

    def error(self, message: str) -> None:  # type: ignore[override]  # it does not return
        """End with exit code 2."""
        raise SettingsError(f"{message} (see {self.prog} --help)")


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        options = _parser().parse_args(arguments)
        options.run(options)
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"error: {error.filename or 'a file'}: {error.strerror}\n")
        return 2
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m reference_impl",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    train = commands.add_parser("train", help="train and write OUTPUT/" + ARTIFACT_NAME)
    train.set_defaults(run=_train)
    train.add_argument("--checkpoint", type=Path, metavar="FILE", help="keep the run's state in it")
    train.add_argument(
        "--checkpoint-every", type=int, default=500, metavar="N", help="steps (default: 500)"
    )
    train.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    evaluate = commands.add_parser("evaluate", help="score a model file with one variant")
    evaluate.set_defaults(run=_evaluate)
    evaluate.add_argument("--model", type=Path, required=True, help="the model file")
    export = commands.add_parser("export", help="train once and write OUTPUT/VARIANT")
    export.set_defaults(run=_export)
    export.add_argument("--force", action="store_true", help="replace record folders")
    ablate = commands.add_parser(
        "ablate", help="measure what each part of a record is worth; goes on where it was stopped"
    )
    ablate.set_defaults(run=_ablate)
    ablate.add_argument("--seeds", default=SEEDS, metavar="N,N", help=f"numbers (default: {SEEDS})")
    corpus = commands.add_parser("corpus", help="write OUTPUT/data from Python's own texts")
    corpus.set_defaults(run=_corpus)
    description = commands.add_parser("describe", help="print what a record consists of, as JSON")
    description.set_defaults(run=_describe)
    for command in (train, evaluate, export, ablate, corpus, description):
        command.add_argument(
            "--preset", default="tiny", help=f"{' or '.join(PRESETS)} (default: tiny)"
        )
        command.add_argument("--size", default="full", help=f"{' or '.join(SIZES)} (default: full)")
    for command in (train, evaluate, export, ablate, corpus):
        command.add_argument("--output", type=Path, required=True, help="folder to write to")
    for command in (train, evaluate, export, ablate):
        command.add_argument(
            "--data", type=Path, help="folder of shards (default: OUTPUT/data, built if absent)"
        )
        command.add_argument("--tokenizer", type=Path, help="sentencepiece model of the shards")
    for command, names in ((evaluate, NAMES), (export, (*NAMES, "both"))):
        command.add_argument("--variant", required=True, help=" or ".join(names))
    ablate.add_argument("--variant", default="both", help=f"{' or '.join(NAMES)} (default: both)")
    return parser


def _seeds(text: str) -> tuple[int, ...]:
    """Read seeds, each of them once."""
    try:
        seeds = tuple(int(word) for word in text.split(","))
    except ValueError:
        raise SettingsError(f"--seeds must be numbers such as 1337,42, got {text!r}") from None
    if len(set(seeds)) < len(seeds):
        raise SettingsError(f"--seeds must differ from each other, got {text}")
    return seeds


def record_of(name: str) -> str:
    """Return the record that a preset belongs to."""
    return "pr779" if name == "tiny" else name  # the preset "tiny" is the tiny size of #779


def _settings(options: argparse.Namespace) -> Settings:
    """Return preset, environment and options, the later ones winning; build a missing corpus."""
    settings = from_environment(preset(options.preset, options.size))
    if (options.data is None) != (options.tokenizer is None):
        raise SettingsError("--data and --tokenizer must be given together, got one of them")
    if options.data is not None:
        return replace(settings, data_path=str(options.data), tokenizer_path=str(options.tokenizer))
    folder = options.output / "data"
    with rank_zero_first():
        build_corpus(folder, settings.vocab_size)
    return replace(settings, data_path=str(folder), tokenizer_path=str(folder / TOKENIZER_NAME))


def _train(options: argparse.Namespace) -> None:
    with joined_ranks():
        settings = _settings(options)
        hooks = _checkpoints(options, settings)
        log = RunLog()
        stream = open_stream(settings, log)
        with _progress() as progress:
            teacher = variant(record_of(options.preset), COMPLIANT).system.teacher(settings)
            weights = train_weights(settings, stream, log, progress, hooks, teacher)
        if rank():
            return
    blob = export_model(weights, settings, 0, log)
    options.output.mkdir(parents=True, exist_ok=True)
    write_artifact(options.output / ARTIFACT_NAME, blob, 0)
    lines = "\n".join(log.lines) + "\n"
    write_atomically(options.output / f"train_seed{settings.seed}.log", lines.encode())


def _checkpoints(options: argparse.Namespace, settings: Settings) -> Hooks:
    if options.checkpoint is None:
        if options.resume:
            raise SettingsError("--resume needs --checkpoint FILE, got none")
        return NO_HOOKS
    every, resume = options.checkpoint_every, options.resume
    return Hooks(checkpoints=CheckpointFile(options.checkpoint, settings, every, resume))


def _evaluate(options: argparse.Namespace) -> None:
    chosen = variant(record_of(options.preset), options.variant)
    with joined_ranks():
        settings = _settings(options)
        log = RunLog()
        stream = open_stream(settings, log)
        mixer = quickened(chosen.system, stream.positions).mixer_of(settings)
        score_artifact(options.model, settings, stream, chosen.system.evaluate, mixer, 0, log)


def _export(options: argparse.Namespace) -> None:
    chosen = variants(record_of(options.preset), options.variant)
    with joined_ranks(), _progress() as progress:
        settings = _settings(options)
        export_records(settings, chosen, options.output, force=options.force, progress=progress)


def _ablate(options: argparse.Namespace) -> None:
    chosen, seeds = variants(record_of(options.preset), options.variant), _seeds(options.seeds)
    settings = _settings(options)
    with _doing() as doing:
        cells = ablate(settings, chosen, seeds, options.output, doing)
    title = f"#{record_of(options.preset).removeprefix('pr')}: what each part is worth"
    Console().print(table(title, summarise(cells)))
    for file in plot(title, cells, options.output / RESULTS_NAME):
        sys.stdout.write(f"{file}\n")


def _corpus(options: argparse.Namespace) -> None:
    settings = from_environment(preset(options.preset, options.size))
    build_corpus(options.output / "data", settings.vocab_size)


def _describe(options: argparse.Namespace) -> None:
    settings = from_environment(preset(options.preset, options.size))
    sys.stdout.write(json.dumps(describe(settings), indent=2) + "\n")


@contextlib.contextmanager
def _doing() -> Iterator[Doing]:
    """Show on standard error what is being done: as a bar when someone is watching, or in lines."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    said = ""

    def say(doing: str, done: int, total: int) -> None:
        nonlocal said
        bar.update(task, description=doing, completed=done, total=total)
        if doing != said and not console.is_terminal:
            console.print(f"{doing} ({done} of {total})", highlight=False)
        said = doing

    with ProgressBar(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=None)
        yield say


@contextlib.contextmanager
def _progress() -> Iterator[Progress | None]:
    """Show training steps on standard error when someone is watching."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with ProgressBar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("training")
        yield lambda step, last: bar.update(task, completed=step, total=last)


if __name__ == "__main__":
    sys.exit(main())
