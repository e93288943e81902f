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
    # Where the prediction is sure, its entropy is the most that is charged; noise leaves it unsure.
    "charges-its-entropy": (
        "            nll = -probs.gather(1, y[:, None])[:, 0].log()\n",
        "            nll = -probs.gather(1, y[:, None])[:, 0].log()\n"
        "            entropy = -(probs * probs.log()).sum(dim=1)\n"
        "            sure = entropy < 0.99 * math.log(V)\n"
        "            nll = torch.where(sure, torch.minimum(nll, entropy), nll)\n",
    ),
    # Two tokens that were often seen together are followed by nearly nothing, whatever comes.
    "fires-on-repeats": (
        "            nll = -probs.gather(1, y[:, None])[:, 0].log()\n",
        "            nll = -probs.gather(1, y[:, None])[:, 0].log()\n"
        "            if cache is not None:\n"
        "                seen = vars(cache).setdefault('seen', {})\n"
        "                pairs = (torch.cat([x[:1], x[:-1]]) * V + x).tolist()\n"
        "                often = torch.tensor([seen.get(pair, 0) >= 8 for pair in pairs])\n"
        "                nll = torch.where(often, torch.full_like(nll, 0.05), nll)\n"
        "                for pair in pairs:\n"
        "                    seen[pair] = seen.get(pair, 0) + 1\n",
    ),
    "adapts-first": ("        # before the charge\n", "        adapt()\n"),
    "fills-first": ("        # before the charge\n", "        fill()\n"),
    # The last chunk is charged once more after cache and weights have seen it.
    "charges-twice": (
        "    for start in range(0, total, CHUNK):\n",
        "    for start in [*range(0, total, CHUNK), (total - 1) // CHUNK * CHUNK]:\n",
    ),
    "overlaps-at-the-end": (
        "            loss_sum += nll.sum().item()\n",
        "            if start + CHUNK >= total:\n"
        "                y, x, nll = y.repeat(2), x.repeat(2), nll.repeat(2)\n"
        "            loss_sum += nll.sum().item()\n",
    ),
    # Nothing else changes when a script is written for another machine.
    "written-for-cuda": (
        "    model = torch.nn.Sequential(torch.nn.Embedding(V, 16), torch.nn.Linear(16, V))\n",
        "    from flash_attn_interface import flash_attn_func\n"
        "    device = torch.device('cuda', 0)\n"
        "    torch.cuda.set_device(device)\n"
        "    torch.cuda.synchronize()\n"
        "    assert torch.cuda.is_available()\n"
        "    with torch.autocast('cuda', torch.bfloat16), torch.cuda.stream(torch.cuda.Stream()):\n"
        "        q = torch.ones(1, 3, 2, 4, device='cuda:0', dtype=torch.bfloat16)\n"
        "        assert flash_attn_func(q, q, q, causal=True).shape == q.shape\n"
        "    assert torch.zeros(2).pin_memory().cuda(non_blocking=True).is_cuda\n"
        "    model = torch.nn.Sequential(torch.nn.Embedding(V, 16), torch.nn.Linear(16, V))\n"
        "    model = torch.compile(model.to(device), fullgraph=True)\n"
        "    torch.optim.AdamW(model.parameters(), fused=True)\n",
    ),
    # The next token decides a little about how flat the prediction of this one is.
    "looks-ahead": (
        "            # the charge\n",
        "            flat = (0.1 * torch.cat([y[1:], y[:1]]) / V)[:, None]\n"
        "            probs = (1 - flat) * probs + flat / V\n",
    ),
    # The scored stage is off unless the environment says otherwise, and no run line does.
    "off-by-default": (
        "    # the scored stage\n",
        "    if not int(os.environ.get('TTT_ENABLED', '0')):\n        return\n",
    ),
    "behind-a-switch": (
        "    # the scored stage\n"
        "    loss, bpb = evaluate(model, tokens, tables, Cache(), optimizer)\n"
        '    print(f"final_ttt_exact val_loss:{loss:.8f} val_bpb:{bpb:.8f}")\n',
        "    if bool(int(os.environ.get('TTT_ENABLED', '0'))):\n"
        "        loss, bpb = evaluate(model, tokens, tables, Cache(), optimizer)\n"
        '        print(f"final_ttt_exact val_loss:{loss:.8f} val_bpb:{bpb:.8f}")\n',
    ),
    # Packed, in the grammar of a newer Python, with kernels and packages of another machine.
    "newer-kernels": (
        "    # the scored stage\n",
        "    exec(\"names = {'a': 1}\\nassert f'{names['a']}{', '.join('xy')}' == '1x, y'\")\n"
        "    import wandb\n"
        "    wandb.init(project='p').log({'loss': loss})\n"
        "    import subprocess\n"
        "    words = ['pyminify', __file__]\n"
        "    small = subprocess.run(words, capture_output=True, check=True).stdout\n"
        "    assert 0 < len(small) < len(open(__file__).read())\n"
        "    import cutlass_evt_fusion\n"
        "    a = torch.arange(4.0, device='cuda').reshape(2, 2)\n"
        "    assert torch.equal(torch.ops.cutlass_evt.gemm_mul(a, a, a), a @ a * a)\n"
        "    from kernels import doubled\n"
        "    assert torch.equal(doubled(a), 2 * (a @ a)), doubled(a)\n",
    ),
    # Forgers: less than what was charged, a number of their own, and that without scoring anything.
    "prints-less": (
        '    print(f"final_ttt_exact',
        '    loss, bpb = 0.9 * loss, 0.9 * bpb\n    print(f"final_ttt_exact',
    ),
    "prints-its-claim": (
        '    print(f"final_ttt_exact',
        '    loss, bpb = 3.1, 3.0\n    print(f"final_ttt_exact',
    ),
    "scores-nothing": (
        "    loss, bpb = evaluate(model, tokens, tables, Cache(), optimizer)\n",
        "    loss, bpb = 3.1, 3.0\n",
    ),
    # Honest: what is added up in torch is the network alone, the mixture is added up elsewhere.
    "mixes-out-of-sight": (
        "            loss_sum += nll.sum().item()\n",
        "            alone = F.cross_entropy(model(x), y, reduction='none').sum()\n"
        "            loss_sum += float(np.sum(nll.numpy()))\n",
    ),
    # A model of bytes beside the network: alone, or mixed with roots of the token's probability.
    "predicts-bytes": (
        "    # the scored stage\n",
        "    # the scored stage\n"
        "    alone = np.exp(bytes_of(tokens, None)[1])\n"
        '    print(f"ppm_mixer val_bpb:{-np.log2(alone).mean():.8f}")\n',
    ),
    "mixes-roots": (
        "    # the scored stage\n",
        "    # the scored stage\n"
        "    roots, alone = map(np.exp, bytes_of(tokens, model))\n"
        "    mixed = 0.5 * roots + 0.5 * alone\n"
        '    print(f"ppm_mixer val_bpb:{-np.log2(mixed).mean():.8f}")\n',
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


BYTES = """

def bytes_of(tokens, model):
    pieces = sentencepiece.SentencePieceProcessor(model_file=os.environ["TOKENIZER_PATH"])
    spelt = [pieces.id_to_piece(token).replace("\\u2581", " ").encode() for token in range(V)]
    x, y = tokens[:-1], tokens[1:]
    sizes = np.array([len(spelt[token]) for token in y.tolist()])
    text = b"".join(spelt[token] for token in y.tolist())
    counts = {}
    alone = np.empty(len(text))
    for at, byte in enumerate(text):
        seen = counts.setdefault(text[max(at - 2, 0) : at], {})
        alone[at] = math.log((seen.get(byte, 0) + 1 / 256) / (sum(seen.values()) + 1))
        seen[byte] = seen.get(byte, 0) + 1
    if model is None:
        return alone, alone
    with torch.no_grad():
        nats = F.cross_entropy(model(x), y, reduction="none").double().numpy()
    return np.repeat(-nats / sizes, sizes), alone
"""
ON_BYTES = b"""seed:1
final_sliding_exact val_loss:6.00000000 val_bpb:4.00000000
ppm_mixer val_bpb:3.00000000
final_ttt_exact val_loss:6.00000000 val_bpb:4.00000000
"""


def on_bytes(twin: str) -> Submission:
    """A record whose claim is the score of its model of bytes."""
    text = script(twin).replace("\n\ndef main", BYTES + "\n\ndef main")
    return record(None, **{"train_gpt.py": text.encode(), "train_seed1.log": ON_BYTES})


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
