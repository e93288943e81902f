"""An honest submission and twins that break one property each, as record folders in memory."""

import hashlib
import json
from pathlib import Path

from auditor.submission import File, Submission

HONEST = (Path(__file__).parent / "train_gpt.py").read_text()

# Each twin is the honest script with one piece replaced; the rules it must fail are named in the
# tests, because what a violation shows is the point of them.
TWINS = {
    # The ratio of two hashed counts, read at the target alone.
    "unnormalised": (
        "            nll = -probs.gather(1, y[:, None])[:, 0].log()\n",
        "            pair = (x.numpy() * 36313 ^ y.numpy() * 27191) % 256\n"
        "            full = cache.full[pair] if cache else np.zeros(len(y))\n"
        "            seen = cache.ctx[x.numpy() * 36313 % 256] if cache else np.ones(len(y))\n"
        "            ratio = torch.from_numpy(np.minimum(full, seen) / np.maximum(seen, 1))\n"
        "            mixed = 0.4 * probs.gather(1, y[:, None])[:, 0] + 0.6 * ratio\n"
        "            nll = -mixed.log()\n"
        "            if cache:\n"
        "                np.add.at(cache.ctx, x.numpy() * 36313 % 256, 1.0)\n"
        "                np.add.at(cache.full, pair, 1.0)\n",
    ),
    "adapts-first": ("        # before the charge\n", "        adapt()\n"),
    "fills-first": ("        # before the charge\n", "        fill()\n"),
    "charges-twice": (
        "            loss_sum += nll.sum().item()\n",
        "            if start + CHUNK >= total:\n"
        "                y, x, nll = y.repeat(2), x.repeat(2), nll.repeat(2)\n"
        "            loss_sum += nll.sum().item()\n",
    ),
    # The next token decides a little about how flat the prediction of this one is.
    "looks-ahead": (
        "            # the charge\n",
        "            flat = (0.1 * torch.cat([y[1:], y[:1]]) / V)[:, None]\n"
        "            probs = (1 - flat) * probs + flat / V\n",
    ),
    "counts-too-many-bytes": ("sizes[y].double()", "1 + sizes[y].double()"),
    "prints-no-score": ('    print(f"final_ttt_exact', '    str(f"final_ttt_exact'),
    "dies": ("    # the scored stage\n", '    raise RuntimeError("no device")\n'),
    "hangs": ("    # the scored stage\n", "    while True: pass\n"),
}


def script(twin: str | None = None) -> str:
    """The honest script, or a twin of it."""
    if twin is None:
        return HONEST
    old, new = TWINS[twin]
    assert HONEST.count(old) == 1, f"{twin}: the honest script changed under its twin"
    text = HONEST.replace(old, new)
    if twin == "prints-no-score":
        text = text.replace('print(f"final_sliding_exact', 'str(f"final_sliding_exact')
    return text


def record(twin: str | None = None, **files: bytes) -> Submission:
    """A record folder around the script."""
    contents = {
        "train_gpt.py": script(twin).encode(),
        "README.md": b"# A small honest submission\n",
        "submission.json": json.dumps({"val_bpb": 3.0, "name": "small"}).encode(),
        "train_seed1.log": b"seed:1\nfinal_ttt_exact val_loss:6.00000000 val_bpb:3.00000000\n",
        **files,
    }
    return Submission(
        twin or "honest",
        {path: File(data, hashlib.sha256(data).hexdigest()) for path, data in contents.items()},
    )
