"""Stand-ins that change what is loaded; in a process of its own, because they replace modules."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

OPTIMISE = """
import sys
import torch
from auditor.run.recorder.stand_ins import precision
precision.Dynamo.install()

import torch._dynamo
torch._dynamo.config.cache_size_limit = 64
assert torch._dynamo.config.cache_size_limit == 64
weights = torch.nn.Parameter(torch.ones(3))
optimizer = torch.optim.AdamW([weights], lr=0.1)
weights.sum().backward()
optimizer.step()
assert float(weights.detach().max()) < 1
assert "torch._dynamo.utils" not in sys.modules
"""
REAL = """
assert torch._dynamo.config.recompile_limit > 0
from torch._dynamo.utils import counters
import torch._dynamo as real
assert real.__file__ and real.explain and not isinstance(real, precision.Dynamo)
optimizer.step()
"""


def run(source: str, folder: Path | None = None) -> None:
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_an_optimiser_does_without_the_compiler_and_who_needs_it_gets_it():
    run(OPTIMISE + REAL)


FETCH = """
import os
import sys
from auditor.run.recorder.stand_ins import packages
reported = []
packages.install(reported.append)
os.environ["DATA_PATH"], os.environ["TOKENIZER_PATH"] = "data", "data/tokenizer.model"

from huggingface_hub import hf_hub_download, snapshot_download
assert snapshot_download(repo_id="a/b", repo_type="dataset") == "data"
assert snapshot_download("a/b", local_dir="here") == "here"
assert sorted(os.listdir("here")) == sorted(os.listdir("data"))
assert hf_hub_download("a/b", "x/fineweb_val_000003.bin") == "data/fineweb_val_000000.bin"
linked = hf_hub_download(repo_id="a/b", filename="sp/bpe.model", local_dir="there")
assert os.readlink(linked) == "data/tokenizer.model", linked
try:
    hf_hub_download("a/b", "weights.safetensors")
except FileNotFoundError as error:
    assert "a/b: weights.safetensors" in str(error)
else:
    raise AssertionError("there are no weights")
assert reported == ["package huggingface_hub"]
"""


@pytest.mark.skipif(
    importlib.util.find_spec("huggingface_hub") is not None, reason="the package is installed"
)
def test_what_a_script_would_download_is_what_the_run_has(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for name in ("fineweb_train_000000.bin", "fineweb_val_000000.bin", "tokenizer.model"):
        (data / name).touch()
    run(FETCH, tmp_path)


DOCUMENTS = """
import torch
from auditor.run.recorder.stand_ins import attention
attention.install(lambda name: None)
from flash_attn_interface import flash_attn_varlen_func as attend

torch.manual_seed(0)
q, k, v = (torch.randn(700, heads, 8) for heads in (4, 2, 2))

def whole(bounds, causal, left):
    place = torch.arange(700)
    document = torch.searchsorted(bounds, place, right=True)
    seen = document[:, None] == document
    if causal:
        seen &= place <= place[:, None]
    if left >= 0:
        seen &= place >= place[:, None] - left
    return attention._attend(q[None], k[None], v[None], seen, None)[0]

for bounds in ([0, 5, 300, 310], [0, 128, 256, 700, 700], [0, 700]):
    for causal, left in ((True, -1), (True, 20), (False, -1)):
        bounds = torch.as_tensor(bounds)
        words = {"causal": causal, "window_size": (left, -1)}
        ours = attend(q, k, v, bounds.int(), bounds.int(), 512, 512, **words)
        assert torch.allclose(ours, whole(bounds, causal, left), atol=1e-6)

# What comes later, and where its documents begin, changes no bit of what was before.
before = attend(q, k, v, torch.tensor([0, 100, 400]), None, 512, 512, causal=True)
q[450:], k[450:], v[450:] = 0, 1, 2
after = attend(q, k, v, torch.tensor([0, 100, 400, 451, 520]), None, 512, 512, causal=True)
assert torch.equal(before[:450], after[:450])
"""


def test_documents_attend_to_themselves_alone():
    run(DOCUMENTS)


ALONE = """
import os
import torch
from auditor.run.recorder.stand_ins import ranks
ranks.install(lambda name: None)

assert "RANK" not in os.environ  # who asks first is told that nobody launched it
torch.distributed.init_process_group("nccl")
assert (torch.distributed.get_rank(), torch.distributed.get_world_size()) == (0, 1)
assert (os.environ["LOCAL_RANK"], os.environ["WORLD_SIZE"]) == ("0", "1")
torch.distributed.destroy_process_group()
"""


def test_a_script_that_only_torchrun_launches_finds_itself_alone():
    run(ALONE)


BUILD = """
import subprocess
import sys
from auditor.run.recorder.stand_ins import kernels
said = []
kernels.install(said.append)

subprocess.check_call([sys.executable, "setup.py", "build_ext", "--inplace"])
assert said == ["build of an extension"]
assert subprocess.check_output([sys.executable, "-c", "print(1)"]) == b"1\\n"
"""


def test_an_extension_for_a_gpu_is_not_built():
    run(BUILD)


TOP = """
import torch
from auditor.run.recorder.stand_ins.devices import OnCpu
said = []
with OnCpu(said.append):
    logits = torch.arange(12.0).reshape(3, 4)
    assert torch.equal(logits.topk(2).indices, torch.tensor([[3, 2]] * 3))
    assert said == []
    for values, found in (logits.topk(9), torch.topk(logits, k=9), logits.topk(9, dim=1)):
        assert torch.equal(found, torch.tensor([[3, 2, 1, 0]] * 3))
    assert torch.topk(logits, 9, 0).values.shape == (3, 4)
    assert torch.equal(logits.topk(9, -1, False).indices, torch.tensor([[0, 1, 2, 3]] * 3))
    assert set(said) == {"topk of all there are"}
"""


def test_more_of_the_likeliest_than_there_are_tokens_are_all_of_them():
    run(TOP)


STREAM = """
import torch
from auditor.run.recorder.stand_ins import install
mode = install(lambda name: None)
stream = torch.cuda.Stream()
with torch.cuda.stream(stream):
    batch = torch.ones(2).cuda(non_blocking=True)
torch.cuda.current_stream().wait_stream(stream)
batch.record_stream(torch.cuda.current_stream())
mode.__exit__(None, None, None)
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU here needs no stand-ins")
def test_a_batch_is_copied_beside_the_work_as_on_a_gpu():
    run(STREAM)
