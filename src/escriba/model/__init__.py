"""Networks that turn ids into logits, for learning, in PyTorch; it knows nothing of texts, files or how it is trained."""
