"""Stand-ins that change what is loaded; in a process of its own, because they replace modules."""

import subprocess
import sys

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


def run(source: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_an_optimiser_does_without_the_compiler_and_who_needs_it_gets_it():
    run(OPTIMISE + REAL)
