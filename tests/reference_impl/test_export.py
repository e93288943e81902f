import ast
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from reference_impl.config import Settings
from reference_impl.errors import ExportError, InputError
from reference_impl.export import export_records
from reference_impl.quantize.artifact import ARTIFACT_NAME
from reference_impl.variants import NAMES, variants

TIMES = re.compile(
    r"(train_time|step_avg|eval_time)[:=][\d.]+ms|(time|elapsed)=[\d.]+s|peak memory.*"
)
# What the challenge's own scripts print, so that readers of those logs can read these.
GRAMMAR = [
    r"val_bpb:enabled tokenizer_kind=(\w+) tokenizer_path=(\S+)",
    r"train_loader:dataset:(\S+) train_shards:(\d+)",
    r"val_loader:shards pattern=(\S+) tokens:(\d+)",
    r"val_limit: VAL_TOKENS=\d+, not the whole validation split",
    r"model_params:(\d+)",
    r"lr:embed=(\S+) matrix=(\S+) scalar=(\S+) batch:(\d+) wall:(\d+)s seed:(\d+)",
    r"warmup_step:(\d+)/(\d+)",
    r"step:\d+/\d+ val_loss:\d+\.\d{4} val_bpb:\d+\.\d{4} train_time:\d+ms step_avg:\d+\.\d\dms",
    r"step:\d+/\d+ train_loss:\d+\.\d{4} train_time:\d+ms step_avg:\d+\.\d\dms",
    r"peak memory allocated: (\d+) MiB reserved: (\d+) MiB",
    r"ema:applying EMA weights \(skipping diagnostic evals\)",
    r"(Serialized model|Code size): (\d+) bytes",
    r"(Serialized model|Total submission size) int6\+zstd: (\d+) bytes",
    r"final_int6_(sliding_window|ttt) val_loss:\d+\.\d{4} val_bpb:\d+\.\d{4} "
    r"stride:(\d+) eval_time:(\d+)ms",
    r"final_int6_(sliding_window|ttt)_exact val_loss:\d+\.\d{8} val_bpb:\d+\.\d{8}",
    r"TTT: epochs=(\d+) lr=(\S+) freeze_first=(\d+) chunk=(\d+) opt=(\w+)",
    r"TTT temperature: (\d+\.?\d*)",
    r"ttt:start chunks=\d+ chunk_tokens=\d+ windows=\d+ stride=\d+ lr=\S+ epochs=\d+ opt=\w+ "
    r"freeze_first=\d+",
    r"ttt:params unfrozen=(\d+) frozen=(\d+)",
    r"  ttt_chunk \[(\d+)/(\d+)\] bpb=(\d+\.\d{6}) time=(\d+\.\d)s",
    r"ttt:done val_loss=(\d+\.\d{6}) val_bpb=(\d+\.\d{6}) elapsed=(\d+\.\d)s",
]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Path:
    output = tmp_path_factory.mktemp("output")
    export_records(settings, variants("pr779", "both"), output)
    return output


def run_script(folder: Path, settings: Settings, **variables: str) -> list[str]:
    ambient = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    data = {"DATA_PATH": settings.data_path, "TOKENIZER_PATH": settings.tokenizer_path}
    done = subprocess.run(
        [sys.executable, "-B", "train_gpt.py"],
        cwd=folder,
        env={**ambient, **data, "OMP_NUM_THREADS": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def timeless(lines: list[str]) -> list[str]:
    return [TIMES.sub("", line) for line in lines]


def shipped_log(folder: Path) -> list[str]:
    return (folder / "train_seed1337.log").read_text().splitlines()


@pytest.mark.parametrize("variant", NAMES)
def test_the_folder_run_alone_prints_its_own_log(
    output: Path, settings: Settings, variant: str
) -> None:
    assert timeless(run_script(output / variant, settings)) == timeless(
        shipped_log(output / variant)
    )


def test_the_shipped_model_file_gives_the_logged_score(output: Path, settings: Settings) -> None:
    folder = output / "compliant"
    before = (folder / ARTIFACT_NAME).read_bytes()
    lines = timeless(run_script(folder, settings, EVAL_ONLY="1"))
    assert lines[-1].startswith("final_int6_ttt_exact")
    logged = timeless(shipped_log(folder))
    assert lines[-10:] == logged[-10:]
    assert not any("train_loss" in line for line in lines)
    assert (folder / ARTIFACT_NAME).read_bytes() == before


def test_a_variable_changes_the_run_of_a_folder(output: Path, settings: Settings) -> None:
    lines = run_script(output / "as_published", settings, EVAL_ONLY="1", EVAL_STRIDE="32")
    assert any(" stride:32 " in line for line in lines)


@pytest.mark.parametrize("variant", NAMES)
def test_every_log_line_has_the_challenge_shape(output: Path, variant: str) -> None:
    lines = shipped_log(output / variant)
    unknown = [line for line in lines if not any(re.fullmatch(p, line) for p in GRAMMAR)]
    assert unknown == []
    used = [p for p in GRAMMAR if any(re.fullmatch(p, line) for line in lines)]
    assert used == GRAMMAR


def test_a_folder_holds_the_mixer_it_runs_and_no_other(output: Path) -> None:
    mixers = {
        variant: {path.name for path in (output / variant / "reference_impl/ngram").iterdir()}
        for variant in NAMES
    }
    assert mixers == {
        "as_published": {"__init__.py", "hashed.py"},
        "compliant": {"__init__.py", "exact.py"},
    }


@pytest.mark.parametrize("variant", NAMES)
def test_a_folder_ships_what_its_scripts_import_and_nothing_else(
    output: Path, variant: str
) -> None:
    folder = output / variant
    reached: set[Path] = set()
    waiting = [folder / "train_gpt.py", folder / "system.py"]
    while waiting:
        path = waiting.pop()
        if path in reached:
            continue
        reached.add(path)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("reference_impl"):
                module = folder / str(node.module).replace(".", "/")
                if module.is_dir():
                    waiting += [module / f"{name.name}.py" for name in node.names]
                    module /= "__init__"
                waiting += [module.with_suffix(".py"), module.parent / "__init__.py"]
    assert reached == set(folder.rglob("*.py"))


@pytest.mark.parametrize("variant", NAMES)
def test_claims_log_and_bytes_tell_one_story(output: Path, variant: str) -> None:
    folder = output / variant
    claims = json.loads((folder / "submission.json").read_text())
    log = "\n".join(shipped_log(folder))
    code = sum(path.stat().st_size for path in folder.rglob("*.py"))
    model = (folder / ARTIFACT_NAME).stat().st_size
    assert (claims["bytes_code"], claims["bytes_total"]) == (code, code + model)
    for line in (
        f"Code size: {code} bytes",
        f"Serialized model int6+zstd: {model} bytes",
        f"Total submission size int6+zstd: {code + model} bytes",
        f"final_int6_ttt_exact val_loss:{claims['val_loss']:.8f} val_bpb:{claims['val_bpb']:.8f}",
    ):
        assert line in log
    assert claims["seed_results"]["1337"]["val_bpb"] == claims["val_bpb"]
    assert claims["name"].endswith(f"({variant})")
    assert f"{claims['val_bpb']:.8f}" in (folder / "README.md").read_text()


def test_both_variants_share_one_model_and_differ_in_the_last_stage(output: Path) -> None:
    models = {(output / variant / ARTIFACT_NAME).read_bytes() for variant in NAMES}
    assert len(models) == 1
    published, compliant = (
        json.loads((output / variant / "submission.json").read_text()) for variant in NAMES
    )
    assert published["pre_ttt_val_bpb"] == compliant["pre_ttt_val_bpb"]
    assert published["val_bpb"] < compliant["val_bpb"]


def test_a_record_names_no_path_of_the_machine_in_its_code(
    output: Path, settings: Settings
) -> None:
    assert settings.data_path not in (output / "compliant/train_gpt.py").read_text()


def test_an_existing_record_is_kept_unless_forced(
    tmp_path: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "compliant"
    folder.mkdir()
    (folder / "kept.txt").write_text("kept")
    with pytest.raises(ExportError, match=r"must be absent or empty, got 1 entries; --force"):
        export_records(settings, variants("pr779", "both"), tmp_path)
    assert capsys.readouterr().out == ""  # refused before any work
    assert [path.name for path in tmp_path.rglob("*")] == ["compliant", "kept.txt"]
    export_records(settings, variants("pr779", "compliant"), tmp_path, force=True)
    assert not (folder / "kept.txt").exists()
    assert (folder / "submission.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["compliant"]


def test_a_file_in_the_way_is_not_replaced(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "compliant").write_text("a file")
    with pytest.raises(ExportError, match="must be a folder or absent, got a file"):
        export_records(settings, variants("pr779", "compliant"), tmp_path, force=True)


def test_a_run_that_breaks_leaves_nothing_behind(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = replace(settings, ttt_lr=1e30)
    with pytest.raises(InputError, match="validation loss must be finite"):
        export_records(broken, variants("pr779", "both"), tmp_path)
    monkeypatch.setattr("reference_impl.quantize.artifact.MAX_ARTIFACT_BYTES", 1000)
    with pytest.raises(InputError, match="at most 1000 bytes"):
        export_records(settings, variants("pr779", "both"), tmp_path)
    assert list(tmp_path.iterdir()) == []
