"""A small honest submission: a network, a context-only bigram cache, score-first adaptation.

`tests.systems` turns it into violations by replacing one marked piece each.
"""

import glob
import math
import os

import numpy as np
import sentencepiece
import torch
import torch.nn.functional as F

V = int(os.environ.get("VOCAB_SIZE", "1024"))
CHUNK = int(os.environ.get("TTT_CHUNK_TOKENS", "1024"))
BUCKETS = 4096


def load(pattern):
    paths = sorted(glob.glob(os.path.join(os.environ["DATA_PATH"], pattern)))
    parts = [np.fromfile(path, dtype="<u2", offset=1024).astype(np.int64) for path in paths]
    return torch.from_numpy(np.concatenate(parts))


def byte_tables():
    pieces = sentencepiece.SentencePieceProcessor(model_file=os.environ["TOKENIZER_PATH"])
    sizes, marked, control = [0] * V, [False] * V, [True] * V
    for token in range(V):
        if not pieces.is_control(token) and not pieces.is_unknown(token):
            text = pieces.id_to_piece(token)
            marked[token], control[token] = text.startswith("\u2581"), False
            sizes[token] = len(text.removeprefix("\u2581").encode())
    return torch.tensor(sizes), torch.tensor(marked), torch.tensor(control)


class Cache:
    """Counts of the tokens seen after each token; a full distribution over the vocabulary."""

    def __init__(self):
        self.counts = np.zeros((V, V))
        self.ctx, self.full = np.zeros(BUCKETS), np.zeros(BUCKETS)

    def update(self, tokens):
        np.add.at(self.counts.reshape(-1), tokens[:-1] * V + tokens[1:], 1.0)

    def distribution(self, contexts, targets):
        rows = self.counts[contexts] + 1.0
        return torch.from_numpy(rows / rows.sum(axis=1, keepdims=True))


def evaluate(model, tokens, tables, cache, optimizer):
    sizes, marked, control = tables
    total = len(tokens) - 1
    loss_sum, count, byte_count = 0.0, 0, 0.0
    for start in range(0, total, CHUNK):
        x, y = tokens[start : start + CHUNK], tokens[start + 1 : start + CHUNK + 1]
        x = x[: len(y)]

        def adapt(x=x, y=y):
            if optimizer is not None:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()

        def fill(start=start, stop=start + len(y) + 1):
            if cache is not None:
                cache.update(tokens[start:stop].numpy())

        # before the charge
        with torch.inference_mode():
            probs = F.softmax(model(x).double(), dim=-1)
            if cache is not None:
                probs = 0.5 * probs + 0.5 * cache.distribution(x.numpy(), y.numpy())
            # the charge
            nll = -probs.gather(1, y[:, None])[:, 0].log()
            loss_sum += nll.sum().item()
            count += len(y)
            tb = sizes[y].double() + (marked[y] & ~control[x])
            byte_count += tb.sum().item()
        fill()
        adapt()
    loss = loss_sum / count
    return loss, loss / math.log(2) * count / byte_count


def main():
    torch.manual_seed(int(os.environ.get("SEED", "1")))
    tokens = load("fineweb_val_*.bin")
    tables = byte_tables()
    model = torch.nn.Sequential(torch.nn.Embedding(V, 16), torch.nn.Linear(16, V))
    torch.nn.init.zeros_(model[1].weight)
    torch.nn.init.zeros_(model[1].bias)
    loss, bpb = evaluate(model, tokens, tables, None, None)
    print(f"final_sliding_exact val_loss:{loss:.8f} val_bpb:{bpb:.8f}")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    # the scored stage
    loss, bpb = evaluate(model, tokens, tables, Cache(), optimizer)
    print(f"final_ttt_exact val_loss:{loss:.8f} val_bpb:{bpb:.8f}")


if __name__ == "__main__":
    main()
