"""The honest submission, or a twin of it, for several ranks: each charges its share of the stream.

As in some records, the cache is on by default only where there are several.
"""

from auditor.submission import Submission
from tests.systems import record, script

PIECES = (
    ("import torch\n", "import torch\nimport torch.distributed as dist\n"),
    (
        '    tokens = load("fineweb_val_*.bin")\n',
        '    tokens = load("fineweb_val_*.bin")\n'
        '    world_size = int(os.environ.get("WORLD_SIZE", "1"))\n'
        '    rank = int(os.environ.get("RANK", "0"))\n'
        "    if world_size > 1:\n"
        '        dist.init_process_group("nccl", device_id=torch.device("cuda", rank))\n'
        "    share = (len(tokens) - 1) // world_size\n"
        "    tokens = tokens[rank * share : (rank + 1) * share + 1]\n"
        '    cache_default = "1" if world_size > 1 else "0"\n'
        '    cached = bool(int(os.environ.get("NGRAM_CACHE", cache_default)))\n'
        "    if cached and rank == 0:\n"
        '        print("ngram_cache:on")\n',
    ),
    (
        "    loss = loss_sum / count\n",
        "    sums = torch.tensor([loss_sum, count, byte_count], dtype=torch.float64)\n"
        "    if dist.is_initialized():\n"
        "        dist.all_reduce(sums, op=dist.ReduceOp.SUM)\n"
        "    loss_sum, count, byte_count = sums.tolist()\n"
        "    loss = loss_sum / count\n",
    ),
    ("tables, Cache(), optimizer", "tables, Cache() if cached else None, optimizer"),
)
PARALLEL = (
    "    optimizer = torch.optim.SGD(",
    "    if world_size > 1:\n"
    "        model = torch.nn.parallel.DistributedDataParallel(\n"
    "            model, device_ids=[rank], static_graph=True\n"
    "        )\n"
    "    optimizer = torch.optim.SGD(",
)
MEANS = (
    "                optimizer.step()\n",
    "                if dist.is_initialized():\n"
    "                    for p in model.parameters():\n"
    "                        dist.all_reduce(p.grad, op=dist.ReduceOp.AVG)\n"
    "                optimizer.step()\n",
)
LOG = b"""seed:1
world_size:8 grad_accum_steps:1
val_loader:shards pattern=x tokens:9
ngram_cache:on
final_ttt_exact val_loss:6.00000000 val_bpb:3.00000000
"""


def ranked(twin: str | None = None) -> Submission:
    """A record that was launched with eight ranks."""
    text = script(twin)
    for old, new in (*PIECES, PARALLEL, MEANS):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return record(None, **{"train_gpt.py": text.encode(), "train_seed1.log": LOG})
