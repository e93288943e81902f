"""Whether the score comes out of the artifact, and the artifact out of the training shards alone.

Both are asked of small runs on text, with the published learning rates: on noise two networks that
were trained on different shards would be the same.
"""

from collections.abc import Mapping

from auditor.errors import CannotMeasure
from auditor.evidence import ArtifactTransplant, ValidationSwap
from auditor.run.execution import Artifact, Bench, Run
from auditor.run.experiments.bars import Bar, Bars
from auditor.run.streams import Stream, text
from auditor.run.workspace import TRAINED, Inputs


def on_text(bench: Bench, bar: Bar) -> Run:
    """The run that the others are held against."""
    return bench.run(text_inputs(), bar)


def text_inputs(
    *,
    validation: Stream | None = None,
    train: Stream | None = None,
    ask: Mapping[str, object] | None = None,
    given: tuple[Artifact, ...] = (),
) -> Inputs:
    """Text, unless given otherwise; `given` artifacts are handed over by name, the last of each."""
    latest = {artifact.name: artifact.content for artifact in given}
    return Inputs(
        validation=validation or text().validation,
        train=train or text().train,
        settings=TRAINED,
        ask={**(ask or {}), "transplant": list(latest)},
        given={str(index): content for index, content in enumerate(latest.values())},
    )


def transplant(bench: Bench, base: Run, bars: Bars) -> ArtifactTransplant:
    """Train on other shards, and evaluate with the artifact of the first run.

    Raises CannotMeasure when a run reads no artifact back, or the other shards gave the same one.
    """
    files = _files(base)
    other = text().other_train
    handed = bench.run(
        text_inputs(train=other, given=base.artifacts), bars("with the artifact of another run")
    )
    if not any(one.replaced for one in handed.record.read_back):
        raise CannotMeasure(
            f"{', '.join(files)}: training on other shards made the same artifact, or it was not "
            "read back"
        )
    repeat = own = None
    if not _same_score(handed, base):
        repeat = bench.run(text_inputs(), bars("again, with its own artifact")).stage.score.val_loss
        own = bench.run(text_inputs(train=other), bars("on other shards")).stage.score.val_loss
    return ArtifactTransplant(
        files=files,
        bytes=sum(len(artifact.content) for artifact in base.artifacts),
        score_nats=base.stage.score.val_loss,
        transplanted_nats=handed.stage.score.val_loss,
        repeat_nats=repeat,
        other_nats=own,
    )


def validation_swap(bench: Bench, base: Run, bars: Bars) -> ValidationSwap:
    """Train again with other text in the validation shards; the artifact must be the same.

    Raises CannotMeasure when a run reads no artifact back.
    """
    files = _files(base)
    length = len(base.stream.tokens)
    elsewhere = text().other_train
    other = Stream(
        "text", elsewhere.tokens[:length], elsewhere.nats_N[:length], base.stream.vocabulary
    )
    stop = {"stop_after_artifacts": len(base.artifacts)}
    swapped = bench.execute(
        text_inputs(validation=other, ask=stop), bars("with other validation shards")
    ).artifacts
    differ = _differ(base.artifacts, swapped)
    repeat_differ: tuple[str, ...] | None = None
    swapped_nats = None
    if differ:
        again = bench.execute(text_inputs(ask=stop), bars("again, for its artifact")).artifacts
        repeat_differ = _differ(base.artifacts, again)
        handed = bench.run(
            text_inputs(given=swapped), bars("with the artifact of other validation")
        )
        swapped_nats = handed.stage.score.val_loss
    return ValidationSwap(
        files=files,
        bytes=sum(len(artifact.content) for artifact in base.artifacts),
        differ=differ,
        repeat_differ=repeat_differ,
        score_nats=base.stage.score.val_loss,
        swapped_nats=swapped_nats,
    )


def _files(run: Run) -> tuple[str, ...]:
    if not run.artifacts:
        raise CannotMeasure("the run wrote no file that it read back, so there is no artifact")
    return tuple(dict.fromkeys(artifact.name for artifact in run.artifacts))


def _same_score(one: Run, other: Run) -> bool:
    """To the last digit that is printed."""
    return (one.stage.score.val_loss, one.stage.score.val_bpb) == (
        other.stage.score.val_loss,
        other.stage.score.val_bpb,
    )


def _differ(some: tuple[Artifact, ...], others: tuple[Artifact, ...]) -> tuple[str, ...]:
    """Names of artifacts that are not the same, in the order of reading."""
    if [one.name for one in some] != [one.name for one in others]:
        raise CannotMeasure(
            f"expected the same files to be read back ({', '.join(one.name for one in some)}), got "
            f"{', '.join(one.name for one in others) or 'none'}"
        )
    pairs = zip(some, others, strict=True)
    return tuple(dict.fromkeys(a.name for a, b in pairs if a.content != b.content))
