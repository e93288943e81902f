"""A submission that trains, packs its weights, reads them back and scores; twins carry something.

Twins replace one marked line each, as those of `train_gpt.py` do.
"""

import glob
import io
import math
import os
import zlib

import numpy as np
import sentencepiece
import torch
import torch.nn.functional as F

V = int(os.environ.get("VOCAB_SIZE", "1024"))
STEPS = int(os.environ.get("ITERATIONS", "200"))
LR = float(os.environ.get("MATRIX_LR", "0.05"))
CHUNK = int(os.environ.get("TTT_CHUNK_TOKENS", "1024"))


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


def make():
    model = torch.nn.Sequential(torch.nn.Embedding(V, 16), torch.nn.Linear(16, V))
    torch.nn.init.zeros_(model[1].weight)
    torch.nn.init.zeros_(model[1].bias)
    return model


def learn(model, tokens, steps):
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    for step in range(steps):
        start = step * CHUNK % (len(tokens) - CHUNK - 1)
        optimizer.zero_grad()
        F.cross_entropy(
            model(tokens[start : start + CHUNK]), tokens[start + 1 :][:CHUNK]
        ).backward()
        optimizer.step()


def evaluate(model, tokens, tables, extra=None):
    sizes, marked, control = tables
    loss_sum, count, byte_count = 0.0, 0, 0.0
    for start in range(0, len(tokens) - 1, CHUNK):
        x, y = tokens[start : start + CHUNK], tokens[start + 1 : start + CHUNK + 1]
        x = x[: len(y)]
        with torch.inference_mode():
            probs = F.softmax(model(x).double(), dim=-1)
            if extra is not None:
                probs = 0.5 * probs + 0.5 * extra[x]
            nll = -probs.gather(1, y[:, None])[:, 0].log()
            loss_sum += nll.sum().item()
            count += len(y)
            tb = sizes[y].double() + (marked[y] & ~control[x])
            byte_count += tb.sum().item()
    loss = loss_sum / count
    return loss, loss / math.log(2) * count / byte_count


def main():
    torch.manual_seed(int(os.environ.get("SEED", "1")))
    train, tokens, tables = load("fineweb_train_*.bin"), load("fineweb_val_*.bin"), byte_tables()
    model, extra, note = make(), None, 0.0
    learn(model, train, STEPS)
    # before packing
    packed = io.BytesIO()
    torch.save({"weights": model.state_dict(), "note": note}, packed)
    with open("final_model.int8.ptz", "wb") as file:
        file.write(zlib.compress(packed.getvalue()))
    with open("final_model.int8.ptz", "rb") as file:
        unpacked = torch.load(io.BytesIO(zlib.decompress(file.read())))
    model = make()
    model.load_state_dict(unpacked["weights"])
    # the scored stage
    loss, bpb = evaluate(model, tokens, tables, extra)
    print(f"final_int8_exact val_loss:{loss:.8f} val_bpb:{bpb:.8f}")


if __name__ == "__main__":
    main()
