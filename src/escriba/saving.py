"""A model in use written into a folder of its own, whole or not at all.

It does not know how a folder is laid out: `checkpoint.py` does; nor how a training writes its own.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from escriba.archive import has_file, open_file
from escriba.checkpoint import holds, save_head, save_weights
from escriba.errors import CheckpointError
from escriba.language import tr
from escriba.training.place import new_place, saying_what_failed, sibling, take_place

if TYPE_CHECKING:
    from escriba.using import Model

__all__ = ["save"]


def save(model: Model, target: Path, *, overwrite: bool = False) -> Path:
    """Writes a model folder. See `Model.save`."""
    weights = model.net.get_weights() if model.net is not None else model._weights
    if model.config is None or weights is None:
        raise CheckpointError(tr("this model's weights are not known here, so it cannot be saved"))
    if target.exists() and not overwrite:
        raise CheckpointError(tr("{target} is there already", target=target), hint=tr("overwrite=True, or another folder"))
    if target.exists() and not (target / "config.json").is_file() and any(target.iterdir() if target.is_dir() else [target]):
        raise CheckpointError(tr("{target} is not a model folder, so it is not overwritten", target=target), hint=tr("another folder"))
    place = new_place(target)
    new = sibling(place, "partial")
    with saying_what_failed(tr("{path} could not be made", path=new)):
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
    save_head(new, model.config, model.tokenizer)
    save_weights(new, weights)
    history = model.folder if model.folder is not None and holds(model.folder, model.config, model.tokenizer, weights) else None
    if history is not None:
        with saying_what_failed(tr("{folder} could not be copied to {target}", folder=history, target=new)):
            for name in ("metrics.jsonl", "samples.txt"):
                if has_file(history / name):
                    with open_file(history / name) as kept, (new / name).open("wb") as copy:
                        shutil.copyfileobj(kept, copy)
    model.usual.keep(new)
    model.learnt.keep(model, new)
    take_place(new, place, replaces=target.exists())
    model.folder, model.at = target, None
    return target
