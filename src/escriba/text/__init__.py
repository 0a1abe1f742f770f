"""Texts to integers: reading, cutting into symbols, and examples to learn from.

It knows nothing of networks: between it and `escriba.model` pass integer arrays and one number, ``vocab_size``.
"""
