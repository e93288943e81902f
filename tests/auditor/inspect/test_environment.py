"""The environment of the scored run, from its logs, its run lines and what the logs show ran."""

import pytest

from auditor.inspect.environment import scored_environment
from tests.auditor.inspect.records import log, submission

SCRIPT = """
import os

def flag(name, default):
    return bool(int(os.environ.get(name, default)))

class Hyperparameters:
    ngram_eval = bool(int(os.environ.get("NGRAM_EVAL", "0")))
    mode = os.environ.get("TTT_MODE", "standard")
    preset = os.environ.get("MODEL_PRESET", "reference")
    order = int(os.environ.get("NGRAM_ORDER", 7))
    rate = float(os.environ.get("TTT_LR", 0.002))
    tilt = flag("TILT_ENABLED", "0")
    epochs = int(os.environ.get("TTT_EPOCHS", "30"))
    rank = int(os.environ.get("RANK", "0"))
    data = os.environ.get("DATA_PATH", "data")

def main():
    args = Hyperparameters()
    print(f"val_loader tokens:{1}")
    print(f"final_int6 val_loss:{1.0:.8f} val_bpb:{1.0:.8f}")
    if args.ngram_eval:
        print(f"ngram_eval_exact val_loss:{1.0:.8f} val_bpb:{1.0:.8f}")
    if args.mode == "lora":
        print(f"lora_ttt_exact val_loss:{1.0:.8f} val_bpb:{1.0:.8f}")

main()
"""


def environment(*lines: str, readme: str = "# A record\n") -> dict[str, str]:
    text = log(1.1) + "\n".join(lines) + "\n"
    files = {"train_gpt.py": SCRIPT, "README.md": readme, "train.log": text}
    return dict(scored_environment(submission(files)))


def test_without_a_word_in_the_log_defaults_are_left_to_the_script():
    assert environment() == {"TTT_EPOCHS": "30"}


@pytest.mark.parametrize(
    "line", ["order: 12", "ngram order:12 chunk:9", '  "order": 12,', '{"order": 12, "x": 1}']
)
def test_a_setting_that_a_log_prints_is_taken(line):
    assert environment(line)["NGRAM_ORDER"] == "12"


def test_a_log_goes_before_a_run_line():
    readme = "```\nNGRAM_ORDER=5 MODEL_PRESET=lean torchrun train_gpt.py\n```\n"
    found = environment("order:12", readme=readme)
    assert (found["NGRAM_ORDER"], found["MODEL_PRESET"]) == ("12", "lean")


@pytest.mark.parametrize(
    "lines",
    [
        ["order:12", "order:13"],  # which?
        ["order:7"],  # the default
        ["order:high"],  # of another kind
        ["order:12.5"],
        ["my.order:12"],
        ["preset:3"],
        ["rank:4"],  # of the machine
        ["data:elsewhere"],
    ],
)
def test_what_says_nothing_is_left_out(lines):
    assert environment(*lines) == {"TTT_EPOCHS": "30"}


def test_truth_values_are_written_as_scripts_read_them():
    assert environment("tilt: True")["TILT_ENABLED"] == "1"


def test_a_line_that_only_a_switch_prints_turns_it_on():
    score = "val_loss:1.00000000 val_bpb:1.10000000"
    assert environment(f"ngram_eval_exact {score}")["NGRAM_EVAL"] == "1"
    assert environment(f"lora_ttt_exact {score}")["TTT_MODE"] == "lora"
    assert "NGRAM_EVAL" not in environment(f"final_int6 {score}")


def test_the_source_that_a_log_echoes_is_not_the_run():
    found = environment()
    echoed = {
        "train_gpt.py": SCRIPT,
        "train.log": SCRIPT + "    order:12\n" + "def f():\n" + log(1),
    }
    assert dict(scored_environment(submission(echoed))) == found


def test_settings_are_printed_before_the_echo_too():
    text = (
        "Hyperparameters:\n  epochs: 3\n  preset: 256:8,2000:24\n"
        + SCRIPT
        + "    order:12\ndef f():\n"
        + log(1.1)
    )
    asked = dict(scored_environment(submission({"train_gpt.py": SCRIPT, "train.log": text})))
    assert (asked["TTT_EPOCHS"], asked["MODEL_PRESET"]) == ("3", "256:8,2000:24")
    assert "NGRAM_ORDER" not in asked
