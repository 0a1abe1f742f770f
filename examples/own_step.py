"""A training step of your own, inside `fit`: here with label smoothing. Evaluation, checkpoints of state and stopping stay Escriba's.

python examples/own_step.py book.txt 200
"""

import sys

from torch.nn.functional import cross_entropy

import escriba


def step(net, batch):
    """The loss to go down, and the state after the batch, with which streams go on."""
    logits, state = net(batch.inputs, batch.state)
    return cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), label_smoothing=0.05), state


def main(path: str, steps: int) -> None:
    """Trains, and shows what the step made of it."""
    text = escriba.read(path)
    parts = text.parts()
    tokenizer = escriba.CharTokenizer.fit(text)
    data = escriba.streams(parts.train.encode(tokenizer), seq_len=100, batch_size=32)
    choosing = parts.choosing and parts.choosing.encode(tokenizer)
    net = escriba.LanguageModel(tokenizer.vocab_size, cell="gru", embedding_dim=32, hidden_size=128)
    for event in escriba.fit(net, data, steps=steps, learning_rate=5e-3, choosing=choosing, step=step):
        if type(event).__name__ == "Evaluated":
            print(f"step {event.step:4}: {event.loss_nats:.3f} nats on the choosing part")
    model = escriba.Model(net, tokenizer)
    print(model.generate("The ", 200, seed=1))
    model.save("models/own-step", overwrite=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
