from pathlib import Path

import pytest

from reference_impl.__main__ import main
from reference_impl.config import Settings
from reference_impl.data import write_shard


@pytest.fixture(autouse=True)
def _settings_in_the_environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings.as_dict().items():
        monkeypatch.setenv(name.upper(), str(value))


@pytest.fixture
def data(corpus: Path) -> list[str]:
    return ["--data", str(corpus), "--tokenizer", str(corpus / "tokenizer.model")]


def only_sentence(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def test_train_then_evaluate_prints_both_stages(
    tmp_path: Path, data: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    output = ["--output", str(tmp_path / "run")]
    assert main(["train", *data, *output]) == 0
    assert capsys.readouterr().out == (tmp_path / "run/train_seed1337.log").read_text()
    model = str(tmp_path / "run/final_model.int6.ptz")
    assert main(["evaluate", "--model", model, "--variant", "compliant", *data, *output]) == 0
    printed = capsys.readouterr().out
    assert "final_int6_sliding_window_exact" in printed
    assert "final_int6_ttt_exact" in printed


def test_export_writes_the_chosen_variant(tmp_path: Path, data: list[str]) -> None:
    assert main(["export", "--variant", "compliant", *data, "--output", str(tmp_path)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["compliant"]


def test_ablate_prints_a_table_and_names_the_plots(
    tmp_path: Path, data: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--variant", "compliant", "--seeds", "5", "--output", str(tmp_path / "ablation")]
    assert main(["ablate", *options, *data]) == 0
    printed, said = capsys.readouterr()
    assert [f"seed 5, compliant: {part}" in said for part in ("base", "full")] == [True, True]
    for part in ("base", "adaptation", "mixer", "full"):
        assert f"compliant   {part}" in printed
    assert (tmp_path / "ablation" / "ablation.svg").is_file()
    assert "ablation.png\n" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "--variant", "best"], "unknown variant 'best', expected one of as_published"),
        (["evaluate", "--model", "m", "--variant", "both"], "unknown variant 'both'"),
        (["train", "--preset", "huge"], "unknown preset 'huge', expected one of pr779, pr834"),
        (["train", "--seed", "1"], "unrecognized arguments: --seed 1"),
        (["fly"], "invalid choice: 'fly'"),
        (["ablate", "--seeds", "1,x"], "--seeds must be numbers such as 1337,42, got '1,x'"),
        (["ablate", "--seeds", "1,1"], "--seeds must differ from each other, got 1,1"),
    ],
)
def test_a_wrong_argument_is_one_sentence(
    tmp_path: Path,
    data: list[str],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    output = tmp_path / "out"
    assert main([*arguments, *data, "--output", str(output)]) == 2
    assert message in only_sentence(capsys)
    assert not output.exists()


def test_data_without_its_tokenizer_is_refused(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--data", str(corpus), "--output", str(tmp_path)]) == 2
    assert "--data and --tokenizer must be given together" in only_sentence(capsys)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (b"", "must have a header of 1024 bytes, got 0"),
        (bytes(2000), "must start with the magic number 20240520, got 0"),
        (None, "must hold at least one fineweb_val_*.bin, got none"),
        ([1, 2, 3], "must hold at least 33 tokens"),
        ([1, 2, 384] * 50, "token ids below the vocabulary size 384, got 384"),
    ],
)
def test_bad_shards_are_one_sentence_and_leave_nothing(
    tmp_path: Path,
    corpus: Path,
    capsys: pytest.CaptureFixture[str],
    damage: bytes | list[int] | None,
    message: str,
) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    validation = shards / "fineweb_val_000000.bin"
    if isinstance(damage, bytes):
        validation.write_bytes(damage)
    elif damage:
        write_shard(validation, damage)
    output = tmp_path / "out"
    data = ["--data", str(shards), "--tokenizer", str(corpus / "tokenizer.model")]
    assert main(["export", "--variant", "both", *data, "--output", str(output)]) == 2
    assert message in only_sentence(capsys)
    assert not output.exists()


def test_a_missing_model_or_one_of_other_settings_is_one_sentence(
    tmp_path: Path,
    data: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tmp_path / "final_model.int6.ptz"
    evaluate = ["evaluate", "--model", str(model), "--variant", "compliant", *data]
    evaluate += ["--output", str(tmp_path)]
    assert main(evaluate) == 2
    assert f"{model} cannot be read" in only_sentence(capsys)
    assert main(["train", *data, "--output", str(tmp_path)]) == 0
    monkeypatch.setenv("NUM_LAYERS", "2")
    capsys.readouterr()
    assert main(evaluate) == 2
    assert "must hold the model that the settings describe" in only_sentence(capsys)


def test_an_output_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, data: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main(["train", *data, "--output", str(tmp_path / "file" / "out")]) == 2
    assert "Not a directory" in only_sentence(capsys)


def test_help_shows_how_to_start(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    assert "python -m reference_impl export --variant both --output demo" in shown
    for command in ("train", "evaluate", "export", "corpus"):
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
        assert "--output" in capsys.readouterr().out
