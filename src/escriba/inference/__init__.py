"""Writes and scores texts, with an engine and a tokenizer.

It does not know where the engine and the tokenizer came from.
"""
