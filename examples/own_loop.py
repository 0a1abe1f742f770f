"""A training loop of your own, down to the optimizer: a line every 50 batches and every epoch, weights kept every fifth.

python examples/own_loop.py book.txt 10
"""

import sys
import time

import torch
from torch.nn.functional import cross_entropy

import escriba


def main(path: str, epochs: int) -> None:
    """Trains, and keeps a model folder that opens like any other."""
    text = escriba.read(path)
    tokenizer = escriba.CharTokenizer.fit(text)
    data = escriba.windows(text.encode(tokenizer), seq_len=100, batch_size=64)
    net = escriba.LanguageModel(tokenizer.vocab_size, cell="gru", embedding_dim=32, hidden_size=128)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for epoch in range(1, epochs + 1):
        began, losses = time.perf_counter(), []
        for number, batch in enumerate(data.epoch(epoch - 1)):
            logits, _ = net(torch.from_numpy(batch.inputs))
            loss = cross_entropy(logits.flatten(0, 1), torch.from_numpy(batch.targets).flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if number % 50 == 0:
                print(f"epoch {epoch}, batch {number}: loss {losses[-1]:.4f}")
        print(f"epoch {epoch}: mean loss {sum(losses) / len(losses):.4f}, {time.perf_counter() - began:.1f} s")
        if epoch % 5 == 0 or epoch == epochs:
            escriba.Model(net, tokenizer).save(f"models/own-loop/epoch-{epoch}", overwrite=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
