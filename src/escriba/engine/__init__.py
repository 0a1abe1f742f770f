"""Runs trained models: integers in, logits out, states carried by the caller.

It knows nothing of texts or tokenizers, nor of how a model was trained.
"""
