"""Learning: from a network and batches to events; it knows nothing of texts and folders, except `run`, which keeps a run on disk."""
