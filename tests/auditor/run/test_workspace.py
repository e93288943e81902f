import struct

import numpy as np
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from auditor.run import workspace
from auditor.run.streams import uniform
from auditor.run.vocabulary import CONTROL_PIECES, VOCAB_SIZE, of_noise
from tests.systems import record


def inputs():
    stream = uniform(384, 100, "a")
    return workspace.Inputs(validation=stream, train=stream, settings=workspace.UNTRAINED)


def test_the_tokenizer_is_one_that_sentencepiece_reads():
    pieces = sentencepiece.SentencePieceProcessor(model_proto=of_noise().model)
    assert [pieces.id_to_piece(i) for i in range(VOCAB_SIZE)] == list(of_noise().pieces)
    assert pieces.bos_id() == 1
    assert pieces.is_control(1)
    assert pieces.is_unknown(3)
    # Scripts assert that the lone word mark is a piece of its own.
    assert pieces.piece_to_id("\u2581") == len(CONTROL_PIECES)


@given(st.lists(st.integers(0, VOCAB_SIZE - 1), min_size=1, max_size=50))
def test_bytes_are_those_of_the_decoded_text(tokens):
    """Spelt out: pieces joined, marks as spaces, except right after a control piece."""
    text, after_control = "", None
    for token in tokens:
        piece = of_noise().pieces[token]
        if piece in CONTROL_PIECES:
            after_control = True
            continue
        if after_control is not None:
            text += piece.removeprefix("\u2581") if after_control else piece.replace("\u2581", " ")
        after_control = False
    # The first token is context, not charged.
    if of_noise().pieces[tokens[0]] in CONTROL_PIECES:
        assert of_noise().token_bytes(np.array(tokens)).sum() == len(text.encode())
    assert of_noise().token_bytes(np.array(tokens))[0] == 0


def test_shards_have_the_header_of_the_challenge(tmp_path):
    workspace.write_shard(tmp_path / "x.bin", uniform(384, 7, "a").tokens)
    data = (tmp_path / "x.bin").read_bytes()
    assert struct.unpack("<3i", data[:12]) == (20240520, 1, 7)
    assert len(data) == 1024 + 14


def test_a_file_of_the_submission_where_data_would_be_stays(tmp_path):
    laid_out = workspace.lay_out(tmp_path, record(data=b"mine"), inputs(), {})
    assert (tmp_path / laid_out.folder / "data").read_bytes() == b"mine"


def test_what_depends_on_the_length_of_the_stream_is_scaled_with_it():
    launch = {"TTT_EPOCHS": "30", "MIX_EPOCHS": "2", "NGRAM_CHUNK_TOKENS": "1000000"}
    launch |= {
        "NGRAM_BUCKETS": "4194304",
        "SMALL_BUCKETS": "64",
        "OPEN_TABLE_BITS": "26",
        "OTHER_TABLE_BITS": "7",
        "TTT_LORA_RANK": "8",
        "RANK": "3",
        "TAG": "$1",
    }
    assert workspace.scored(launch, 50_001 / workspace.FULL_TOKENS) == {
        "TTT_EPOCHS": "6",
        "MIX_EPOCHS": "2",
        "NGRAM_CHUNK_TOKENS": "1024",
        "NGRAM_BUCKETS": "4096",
        "SMALL_BUCKETS": "64",
        "OPEN_TABLE_BITS": "16",
        "OTHER_TABLE_BITS": "7",
        "TTT_LORA_RANK": "8",
    }


def test_an_adapter_is_small_and_keeps_its_weight():
    def scored(**launch):
        return workspace.scored(launch, 0.001)

    large = {"TTT_LORA_RANK": "96", "TTT_LORA_ALPHA": "144.0"}
    assert scored(**large) == {"TTT_LORA_RANK": "8", "TTT_LORA_ALPHA": "12"}
    for none_or_small in ({"TTT_LORA_RANK": "0"}, {"TTT_LORA_RANK": "4", "TTT_LORA_ALPHA": "9"}):
        assert scored(**none_or_small) == none_or_small
    assert scored(LORA_RANK="96", LORA_ALPHA="auto") == {"LORA_RANK": "8", "LORA_ALPHA": "auto"}


def test_a_script_that_names_its_layers_by_number_keeps_them():
    assert "NUM_LAYERS" in workspace.small({})
    assert "NUM_LAYERS" not in workspace.small({"LOOP_START": "3"})


def test_everything_is_laid_out_and_settings_are_named(tmp_path):
    launch = {"TTT_ENABLED": "1", "NUM_LAYERS": "99", "LD_PRELOAD": "x", "DATA_PATH": "y"}
    laid_out = workspace.lay_out(tmp_path, record(), inputs(), launch)
    assert (tmp_path / laid_out.folder / "train_gpt.py").read_text() == record().files[
        "train_gpt.py"
    ].text
    for vocab_size in (384, 1024):
        usual = tmp_path / laid_out.folder / "data"
        assert (usual / f"datasets/fineweb10B_sp{vocab_size}/fineweb_val_000000.bin").is_file()
        assert (usual / f"tokenizers/fineweb_{vocab_size}_bpe.model").is_file()
    assert laid_out.settings["VOCAB_SIZE"] == "384"
    # What the submission was started with stays, but for sizes and the machine.
    assert laid_out.settings["TTT_ENABLED"] == "1"
    assert laid_out.settings["NUM_LAYERS"] == "4"
    assert "LD_PRELOAD" not in laid_out.environment
    assert laid_out.environment["DATA_PATH"] == "{workspace}/data"
    assert set(laid_out.settings) <= set(laid_out.environment)
    assert not {"SSH_AUTH_SOCK", "USER"} & set(laid_out.environment)
