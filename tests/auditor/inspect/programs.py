"""Programs for the analysis of order: an honest one, and changes that break one thing or none."""

HONEST = """
import copy, glob, math, os
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

class Settings:
    val_files = os.path.join("data", "fineweb_val_*.bin")
    train_files = os.path.join("data", "fineweb_train_*.bin")
    ttt_enabled = bool(int(os.environ.get("TTT_ENABLED", "1")))
    epochs = int(os.environ.get("EPOCHS", "3"))

class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(8, 8)

    def forward(self, x, y):
        return F.cross_entropy(self.head(x), y)

class Counts:
    def __init__(self):
        self.table = np.zeros((1024, 1024))

    def update(self, context, token):
        np.add.at(self.table, (context, token), 1)

    def read(self, context):
        return self.table[context]

def load(pattern):
    return torch.cat([torch.from_file(path) for path in sorted(glob.glob(pattern))])

def train(args, model):
    tokens = load(args.train_files)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(1000):
        x = tokens[step * 64 : step * 64 + 64]
        y = tokens[step * 64 + 1 : step * 64 + 65]
        optimizer.zero_grad()
        model(x, y).backward()
        optimizer.step()

def adapt(model, tokens, epochs, lr):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for epoch in range(epochs):
        for start in range(0, tokens.numel() - 1, 64):
            x, y = tokens[start : start + 64], tokens[start + 1 : start + 65]
            optimizer.zero_grad()
            loss = model(x, y)
            loss.backward()
            optimizer.step()

def evaluate(args, model, val_tokens, counts):
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    total, seen = 0.0, 0
    for chunk in range(val_tokens.numel() // 64):
        start = chunk * 64
        x, y = val_tokens[start : start + 64], val_tokens[start + 1 : start + 65]
        with torch.no_grad():
            loss = model(x, y)
            mixed = loss - 0.1 * np.log(counts.read(x).sum())
        total += mixed.item() * 64
        seen += 64
        counts.update(x, y)
        if args.ttt_enabled:
            for epoch in range(args.epochs):
                optimizer.zero_grad()
                model(x, y).backward()
                optimizer.step()
    return total / seen

def main():
    args = Settings()
    model = GPT()
    train(args, model)
    val_tokens = load(args.val_files)
    counts = Counts()
    # BEFORE WRITING
    torch.save(model.state_dict(), "model.bin")
    scored = GPT()
    scored.load_state_dict(torch.load("model.bin"))
    # BEFORE SCORING
    val_loss = evaluate(args, scored, val_tokens, counts)
    # AFTER SCORING
    print(f"final_exact val_loss:{val_loss:.8f} val_bpb:{val_loss / math.log(2):.8f}")

if __name__ == "__main__":
    main()
"""

CHARGE = "        total += mixed.item() * 64\n        seen += 64\n        counts.update(x, y)\n"
SCORED_FIRST = """        with torch.no_grad():
            loss = model(x, y)
            mixed = loss - 0.1 * np.log(counts.read(x).sum())
"""


def at(mark: str, *lines: str) -> tuple[str, str]:
    """Lines put in the place of a mark of the script."""
    return f"    # {mark}\n", "".join(f"    {line}\n" for line in lines)


VIOLATIONS = {
    "adapts to the whole split before scoring it": (
        "score-before-update",
        [at("BEFORE SCORING", "adapt(scored, val_tokens, args.epochs, 1e-3)")],
    ),
    "adapts to a chunk and then scores it": (
        "score-before-update",
        [
            (
                SCORED_FIRST,
                "        adapt(model, val_tokens[start : start + 64], 1, 0.1)\n" + SCORED_FIRST,
            )
        ],
    ),
    "scores the last of several epochs": (
        "score-before-update",
        [
            (
                SCORED_FIRST + CHARGE,
                """        for epoch in range(args.epochs):
            loss = model(x, y)
            if epoch == args.epochs - 1:
                total += loss.item() * 64
                seen += 64
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
""",
            )
        ],
    ),
    "fits an offset on the tokens that it scores": (
        "score-before-update",
        [
            (
                SCORED_FIRST,
                """        offset = torch.zeros(8, requires_grad=True)
        fit = torch.optim.AdamW([offset], lr=0.1)
        for _ in range(8):
            fit.zero_grad()
            F.cross_entropy(model.head(x) + offset, y).backward()
            fit.step()
        mixed = F.cross_entropy(model.head(x) + offset, y)
""",
            )
        ],
    ),
    "adapts to tokens that only their name tells": (
        "score-before-update",
        [
            ("    val_tokens = load(args.val_files)\n", "    val_tokens = read_shards(args)\n"),
            (
                "def main():",
                "def read_shards(args):\n"
                "    return np.frombuffer(open('tokens.bin', 'rb').read(), '<u2')\n\ndef main():",
            ),
            at("BEFORE SCORING", "adapt(scored, val_tokens, args.epochs, 1e-3)"),
        ],
    ),
    "adapts, unless a file is there that nobody speaks of": (
        "score-before-update",
        [
            at(
                "BEFORE SCORING",
                "paused = os.path.exists(args.val_files)",
                "if not paused:",
                "    adapt(scored, val_tokens, args.epochs, 1e-3)",
            )
        ],
    ),
    "steps by hand": (
        "score-before-update",
        [
            at(
                "BEFORE SCORING",
                "for start in range(0, val_tokens.numel() - 1, 64):",
                "    x, y = val_tokens[start : start + 64], val_tokens[start + 1 : start + 65]",
                "    scored(x, y).backward()",
                "    for p in scored.parameters():",
                "        p.data.add_(p.grad, alpha=-0.1)",
            )
        ],
    ),
    "adapts, sets a temperature and scores again": (
        "score-before-update",
        [
            at(
                "BEFORE SCORING",
                "first = evaluate(args, scored, val_tokens, Counts())",
                "adapt(scored, val_tokens, args.epochs, 1e-3)",
                "scored.temperature.fill_(0.98)",
            )
        ],
    ),
    "fills the table with the split first": (
        "causal-cache",
        [at("BEFORE SCORING", "counts.update(val_tokens[:-1], val_tokens[1:])")],
    ),
    "scores twice with the table of the first pass": (
        "causal-cache",
        [
            at(
                "BEFORE SCORING",
                "args.ttt_enabled = False",
                "first = evaluate(args, scored, val_tokens, counts)",
                "scored.load_state_dict(torch.load('model.bin'))",
            )
        ],
    ),
    "takes roots of a token's probability for those of its bytes": (
        "full-distribution",
        [
            (
                "        total += mixed.item() * 64\n",
                "        per_byte = -mixed / n_bytes[y]\n"
                "        total -= torch.log(0.9 * torch.exp(per_byte) + 0.1 / 256).sum() * 4\n",
            )
        ],
    ),
    "keeps the smaller of two losses": (
        "single-pass",
        [
            (
                "        total += mixed.item() * 64\n",
                "        total += torch.minimum(mixed, loss).item() * 64\n",
            )
        ],
    ),
    "keeps the mixture where it has the smaller loss": (
        "single-pass",
        [
            (
                "        total += mixed.item() * 64\n",
                "        kept = [loss]\n"
                "        if mixed < loss:\n"
                "            kept[0] = mixed\n"
                "        total += kept[0].item() * 64\n",
            )
        ],
    ),
    "hands over a table of training tokens in memory": (
        "artifact-only",
        [
            at(
                "BEFORE WRITING",
                "train_tokens = load(args.train_files)",
                "counts.update(train_tokens[:-1], train_tokens[1:])",
            )
        ],
    ),
    "pays for a prefix that holds the answers": (
        "validation-independence",
        [
            at("BEFORE SCORING", "stored = np.frombuffer(open('prefix.bin', 'rb').read(), '<u2')"),
            ("scored, val_tokens, counts)\n", "scored, val_tokens, counts, stored)\n"),
            ("val_tokens, counts):", "val_tokens, counts, stored):"),
            (
                "        total += mixed.item() * 64\n",
                "        known = torch.tensor(stored[start : start + 64]) == y\n"
                "        losses = F.cross_entropy(model.head(x), y, reduction='none')\n"
                "        losses[:64] *= (~known).float()\n"
                "        total += losses.sum().item()\n",
            ),
        ],
    ),
    "and puts a nought there": (
        "validation-independence",
        [
            at("BEFORE SCORING", "stored = np.frombuffer(open('prefix.bin', 'rb').read(), '<u2')"),
            ("scored, val_tokens, counts)\n", "scored, val_tokens, counts, stored)\n"),
            ("val_tokens, counts):", "val_tokens, counts, stored):"),
            (
                "        total += mixed.item() * 64\n",
                "        losses = F.cross_entropy(model.head(x), y, reduction='none')\n"
                "        losses[stored[start : start + 64] == y] = 0.0\n"
                "        total += losses.sum().item()\n",
            ),
        ],
    ),
    "writes a model that was calibrated on the split": (
        "validation-independence",
        [at("BEFORE WRITING", "model.head.weight.copy_(val_tokens.float().mean())")],
    ),
}

INNOCENT = {
    "as it is": [],
    "adapts to the split after it was scored": [
        at("AFTER SCORING", "adapt(scored, val_tokens, args.epochs, 1e-3)")
    ],
    "adapts, and puts the weights back": [
        at(
            "BEFORE SCORING",
            "adapt(scored, val_tokens, 1, 1e-3)",
            "scored.load_state_dict(torch.load('model.bin'))",
        )
    ],
    "leaves out what a file says is not to be scored": [
        at("BEFORE SCORING", "ignored = np.frombuffer(open('mask.bin', 'rb').read(), '<u2')"),
        ("scored, val_tokens, counts)\n", "scored, val_tokens, counts, ignored)\n"),
        ("val_tokens, counts):", "val_tokens, counts, ignored):"),
        (
            "        total += mixed.item() * 64\n",
            "        losses = F.cross_entropy(model.head(x), y, reduction='none')\n"
            "        losses[ignored[start : start + 64] == 1] = 0.0\n"
            "        losses[y == 0] = 0.0\n"
            "        hit = (ignored[start : start + 64] == y).sum()\n"
            "        total += losses.sum().item()\n",
        ),
    ],
    "adapts, and begins anew": [
        at(
            "BEFORE SCORING",
            "adapt(scored, val_tokens, 1, 1e-3)",
            "for p in scored.parameters():",
            "    p.data.fill_(0.5)",
        )
    ],
    "writes an adapted copy beside the model": [
        at(
            "BEFORE WRITING",
            "tuned = copy.deepcopy(model)",
            "adapt(tuned, val_tokens, 1, 1e-3)",
            "torch.save(tuned.state_dict(), 'tuned.bin')",
        )
    ],
    "writes an adapted copy after the model": [
        at(
            "BEFORE SCORING",
            "tuned = copy.deepcopy(model)",
            "adapt(tuned, val_tokens, 1, 1e-3)",
            "torch.save(tuned.state_dict(), 'tuned.bin')",
            "scored.load_state_dict(torch.load('model.bin'))",
        )
    ],
    "warms up on what is thrown away": [
        at(
            "BEFORE SCORING",
            "throwaway = copy.deepcopy(scored)",
            "adapt(throwaway, val_tokens, 1, 1e-3)",
            "del throwaway",
        )
    ],
    "adapts to training tokens": [
        at("BEFORE SCORING", "adapt(scored, load(args.train_files), 1, 1e-3)")
    ],
    "scores a first time with other weights and another table": [
        at("BEFORE SCORING", "first = evaluate(args, copy.deepcopy(scored), val_tokens, Counts())")
    ],
    "writes the table of training tokens and reads it back": [
        at(
            "BEFORE WRITING",
            "train_tokens = load(args.train_files)",
            "counts.update(train_tokens[:-1], train_tokens[1:])",
            "np.save('table.npy', counts.table)",
            "counts = Counts()",
            "counts.table = np.load('table.npy')",
        )
    ],
    "adapts where a switch is off": [
        (
            '    epochs = int(os.environ.get("EPOCHS", "3"))\n',
            '    epochs = int(os.environ.get("EPOCHS", "3"))\n'
            '    first = bool(int(os.environ.get("ADAPT_FIRST", "0")))\n',
        ),
        at("BEFORE SCORING", "if args.first:", "    adapt(scored, val_tokens, 1, 1e-3)"),
    ],
    "looks a switch up that is off": [
        (
            '    epochs = int(os.environ.get("EPOCHS", "3"))\n',
            '    epochs = int(os.environ.get("EPOCHS", "3"))\n'
            '    first = bool(int(os.environ.get("ADAPT_FIRST", "0")))\n',
        ),
        at(
            "BEFORE SCORING",
            "adapts_first = getattr(args, 'first', False)",
            "if adapts_first:",
            "    adapt(scored, val_tokens, 1, 1e-3)",
        ),
    ],
    "hands a switch over that is off": [
        (
            '    epochs = int(os.environ.get("EPOCHS", "3"))\n',
            '    epochs = int(os.environ.get("EPOCHS", "3"))\n'
            '    first = bool(int(os.environ.get("ADAPT_FIRST", "0")))\n',
        ),
        at("BEFORE SCORING", "perhaps(args.first, scored, val_tokens)"),
        (
            "def main():",
            "def perhaps(first, model, tokens):\n"
            "    if first:\n        adapt(model, tokens, 1, 1e-3)\n\ndef main():",
        ),
    ],
    "counts epochs, and scores the first": [
        (
            SCORED_FIRST + CHARGE,
            """        for epoch in range(args.epochs):
            loss = model(x, y)
            if epoch == 0:
                total += loss.item() * 64
                seen += 64
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
""",
        )
    ],
    "adapts to the slice before, which the same words name": [
        (
            SCORED_FIRST,
            "        start = start - 64\n"
            "        adapt(model, val_tokens[start : start + 64], 1, 0.1)\n"
            "        start = start + 64\n"
            "        x, y = val_tokens[start : start + 64], val_tokens[start + 1 : start + 65]\n"
            + SCORED_FIRST,
        )
    ],
    "adapts to some part, which may have been scored before": [
        at(
            "BEFORE SCORING",
            "for step in range(100):",
            "    x, y = val_tokens[step : step + 64], val_tokens[step + 1 : step + 65]",
            "    scored(x, y).backward()",
            "    torch.optim.SGD(scored.parameters()).step()",
        )
    ],
    "fills the table of a rank with what lies before its part": [
        (
            "    total, seen = 0.0, 0\n",
            "    total, seen = 0.0, 0\n"
            "    windows = [start for start in range(0, val_tokens.numel(), 64)]\n"
            "    first = windows[len(windows) * RANK // 8]\n"
            "    for order in range(3):\n"
            "        np.add.at(counts.table, val_tokens[np.arange(first) - order], 1)\n",
        )
    ],
    "fills it in pieces with what lies before its part": [
        (
            "    total, seen = 0.0, 0\n",
            "    total, seen = 0.0, 0\n"
            "    windows = [start for start in range(0, val_tokens.numel(), 64)]\n"
            "    mine = windows[len(windows) * RANK // 8 : len(windows) * (RANK + 1) // 8]\n"
            "    for start in range(0, mine[0], 64):\n"
            "        counts.update(val_tokens[start : start + 64], val_tokens[start + 1 :][:64])\n",
        )
    ],
    "keys the table by tokens that it remembers": [
        (
            CHARGE,
            "        total += mixed.item() * 64 - np.log(counts.read(past[-1]).sum())\n"
            "        seen += 64\n"
            "        counts.update(past[-1], y)\n"
            "        past.append(y)\n",
        ),
        ("    total, seen = 0.0, 0\n", "    total, seen, past = 0.0, 0, []\n"),
    ],
    "keeps a size that it looked up in all of the tokens": [
        (
            "        self.table = np",
            "        self.size = load(Settings.val_files).max() + 1\n        self.table = np",
        ),
        ("        return self.table[context]", "        return self.table[context] / self.size"),
    ],
    "prints the best of several evaluations": [
        at(
            "AFTER SCORING",
            "again = evaluate(args, scored, val_tokens, counts)",
            "if again < val_loss:",
            "    best = again",
            "best = min(again, val_loss)",
        )
    ],
    "fills buffers at places made of tokens, and one-hot rows": [
        (
            "        total += mixed.item() * 64\n",
            "        rows = torch.zeros(64, 1024).scatter_(1, y, 1.0)\n"
            "        first = {}\n"
            "        first[int(y[0])] = x\n"
            "        loss = F.cross_entropy(model.head(x) + rows.mean() * 0, y)\n"
            "        total += mixed.item() * 64 + 0 * len(first)\n",
        )
    ],
    "adds results up under keys, and puts single results right": [
        (
            "        total += mixed.item() * 64\n",
            "        sums[int(y[0])] = sums.get(int(y[0]), 0.0) + mixed.item()\n"
            "        logits = model.head(x)\n"
            "        logits[0, y] += 0.5\n"
            "        total += F.cross_entropy(logits, y).item() * 64 + sums[int(y[0])] * 0\n",
        ),
        ("    total, seen = 0.0, 0\n", "    total, seen, sums = 0.0, 0, {}\n"),
    ],
    "divides by how many were blended": [
        (
            "        total += mixed.item() * 64\n",
            "        share = torch.exp(mixed / n_blended)\n"
            "        total += mixed.item() * 64 * share / n_blended[y].sum()\n",
        )
    ],
    "sums losses and counts of tokens in place": [
        ("    total, seen = 0.0, 0\n", "    total, seen = torch.zeros(()), 0\n"),
        (CHARGE, "        add(total, mixed)\n        seen += 64\n        counts.update(x, y)\n"),
        ("def main():", "def add(total, loss):\n    total += loss * 64\n\ndef main():"),
    ],
}


def changed(changes: list[tuple[str, str]]) -> str:
    text = HONEST
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


OPEN = {
    "a local name": [
        at(
            "BEFORE SCORING",
            "adapts_first = getattr(args, 'first', False)",
            "if adapts_first:",
            "    adapt(scored, val_tokens, 1, 1e-3)",
        )
    ],
    "an argument": [
        ("    args = Settings()\n", "    args = parser.parse_args()\n"),
        at("BEFORE SCORING", "perhaps(args.first, scored, val_tokens)"),
        (
            "def main():",
            "def perhaps(first, model, tokens):\n"
            "    if first:\n        adapt(model, tokens, 1, 1e-3)\n\ndef main():",
        ),
    ],
}
"""Switches that nobody knows."""

ENDLESS = {
    "calls itself": "def f(n):\n    return f(n - 1) + g(n)\ndef g(n):\n    return f(n)\nf(3)\n",
    "calls twice what calls twice": "def f0(): return 1\n"
    + "".join(f"def f{n}(): return f{n - 1}() + f{n - 1}()\n" for n in range(1, 24))
    + "f23()\n",
    "loops in loops": "".join(" " * n + "while x > 0:\n" for n in range(60)) + " " * 60 + "x = y\n",
    "doubles a tuple": "x = (1, 2)\n" + "x = (x, x)\n" * 60 + "print(x)\n",
    "branches on nothing known": "def f(a):\n"
    + "    if a:\n        b = a\n    else:\n        b = 2\n" * 400
    + "f(g())\n",
}
