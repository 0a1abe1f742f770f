"""A model packed to be passed on: its weights in fewer bits, nothing of where and when it learnt, in a folder or one zip file.

It does not know how the files are written and read, nor how a loss is measured. What is packed is told in docs/reference/format.md.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from escriba.errors import CheckpointError, SettingsError, TextError, near_name
from escriba.language import tr

if TYPE_CHECKING:
    import numpy as np

    from escriba.checkpoint import Config, ModelFiles
    from escriba.measuring import Evaluation
    from escriba.text.corpus import Corpus
    from escriba.using import Model

__all__ = ["KINDS", "Packed", "Packs", "kind_of", "pack"]

KINDS = ("int8", "bf16", "float32")
"""What the weights may be packed in."""
MOST_MEASURED = 100_000
"""Characters on which is measured what packing costs: the two losses are of one text, so their difference is exact enough."""
OF_THE_TEXT = (
    *("characters", "documents", "labels", "sha256", "choosing_sha256", "held_out_sha256"),
    *("train_symbols", "choosing_symbols", "held_out_symbols"),
)
"""What a packed model says of its text: how much, and by which hashes it is known again; not where it was."""
OF_THE_END = ("reason", "kept", "steps", "epochs", "symbols_seen", "elapsed_s", "train_loss_nats")
"""What it says of its training, with the loss of what is packed."""


@dataclass(frozen=True)
class Packed:
    """What came of packing a model.

    Attributes:
        path: the folder or zip file.
        weights: "int8", "bf16" or "float32"; None: of an n-gram that counts, whose numbers are packed as they are.
        bytes_before: of all files of the model; None: it was in memory.
        bytes: of what was packed.
        weight_bytes_before: of the weights alone.
        weight_bytes: of the packed weights, before a zip file makes them smaller.
        bits_per_char_before: what the model makes of the text on which it was measured; None: it was not measured.
        bits_per_char: what the packed one makes of it.
        measured_on: "held-out", or the file; None: nothing.
        characters: of the text on which it was measured.
        why_not: why it was not measured, in a sentence; None: it was.
    """

    path: Path
    weights: str | None
    bytes_before: int | None
    bytes: int
    weight_bytes_before: int
    weight_bytes: int
    bits_per_char_before: float | None = None
    bits_per_char: float | None = None
    measured_on: str | None = None
    characters: int | None = None
    why_not: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The fields as ``escriba pack --json`` prints them."""
        return {**asdict(self), "path": str(self.path)}

    def __str__(self) -> str:
        size = tr("{path}: {size:.2f} MB", path=self.path, size=self.bytes / 1e6)
        if self.bits_per_char is None:
            return size
        named = {"bits": self.bits_per_char, "before": self.bits_per_char_before}
        return f"{size}, {tr('{bits:.4f} bits per character, before {before:.4f}', **named)}"


class Packs:
    """What can be packed."""

    def pack(self, path: str | os.PathLike[str], weights: str = "int8", **options: Any) -> Packed:
        """Packs the model to pass it on: a folder, or one zip file where the name ends in .zip; `escriba.load` opens either.

        Nothing that only training needs goes with it, and nothing that says where and when it learnt.

        Args:
            path: where; its name decides what it becomes.
            weights: "int8" (a quarter of the size), "bf16" (half of it) or "float32" (exact). An n-gram that counts is packed as it is.
            **options: overwrite=True replaces a model that is there; on, a file on which is measured what it costs, instead of the part of
                the model's own text that was held out; encoding of that file; progress, called with the symbols read and their number.

        Raises:
            CheckpointError: there is something already, it cannot be written, or the weights are no finite numbers.
            SettingsError: there is no such kind of weights.
            TextError: the file cannot be read.
        """
        return pack(self, path, weights, **options)  # type: ignore[arg-type]


def kind_of(folder: Path) -> str | None:
    """In what the weights of a model are kept, "int8", "bf16" or "float32"; None: it has none, or is an n-gram that counts.

    Args:
        folder: its folder or zip file.

    Raises:
        CheckpointError: the weights cannot be read.
    """
    from escriba.tensorfile import tensor_types

    found = set(tensor_types(folder / "model.safetensors").values())
    return next((kind for kind, dtype in (("int8", "I8"), ("bf16", "BF16"), ("float32", "F32")) if dtype in found), None)


def matrices(config: Config) -> list[str]:
    """The names of the tensors that are packed: the matrices of products and of the embedding, which hold nearly all of the numbers.

    Norms, biases and convolutions stay as they are. So does what meets the code numbers of symbols, which are far larger than 1.
    """
    from escriba.weights import tensor_specs

    specs = tensor_specs(config.model, config.vocab_size)
    codes = {"layers.0.weight_ih"} if config.model.codes else set()
    return [one.name for one in specs if len(one.shape) == 2 and not one.name.endswith("conv_weight") and one.name not in codes]


def pack(
    model: Model,
    path: str | os.PathLike[str],
    weights: str = "int8",
    *,
    overwrite: bool = False,
    on: str | os.PathLike[str] | None = None,
    encoding: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Packed:
    """Packs a model. See `Model.pack`."""
    from escriba.archive import archive_bytes
    from escriba.checkpoint import load_folder, save_head, save_weights
    from escriba.tensorfile import replace_file
    from escriba.training.place import new_place, take_place

    config, arrays = _known(model)
    if weights not in KINDS:
        near = near_name(str(weights), KINDS)
        raise SettingsError(
            tr("weights is {value!r}", value=weights), expected=", ".join(KINDS), hint=near and tr("did you mean {near!r}?", near=near)
        )
    counts = config.model.cell == "counts"
    packed = {} if counts or weights == "float32" else dict.fromkeys(matrices(config), weights)
    target, as_file = _target(model, path, overwrite)
    part, why_not = _part(model, on, encoding)
    place = new_place(target)
    with _beside(place) as new:
        save_head(new, config, model.tokenizer)
        save_weights(new, arrays, packed=packed)
        files = load_folder(new)  # what is measured is what will be opened
        found = None if part is None else _measured(model, files, part, progress)
        _keep_history(model, files, arrays, new, None if found is None or on is not None else found[1])
        model.usual.keep(new)
        model.learnt.keep(model, new)
        weight_bytes = (new / "model.safetensors").stat().st_size
        if as_file:
            replace_file(place, archive_bytes({one.name: one.read_bytes() for one in _in_order(new)}))
        else:
            take_place(new, place, replaces=target.exists())
    before, after = (None, None) if found is None else (one.bits_per_char for one in found)
    return Packed(
        target,
        None if counts else weights,
        None if model.folder is None else _bytes_of(model.folder),
        _bytes_of(place),
        _weight_bytes(model, arrays),
        weight_bytes,
        before,
        after,
        None if found is None else "held-out" if on is None else os.fspath(on),
        None if part is None or found is None else part.characters,
        why_not,
    )


def _known(model: Model) -> tuple[Config, dict[str, np.ndarray]]:
    """A model's settings and weights.

    Raises:
        CheckpointError: they are not known, or no finite numbers.
    """
    import numpy as np

    weights: Mapping[str, Any] | None = model.net.get_weights() if model.net is not None else model._weights
    if model.config is None or weights is None:
        raise CheckpointError(tr("this model's weights are not known here, so it cannot be packed"))
    arrays = {name: np.asarray(array) for name, array in weights.items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise CheckpointError(tr("{name} holds numbers that are not finite, so the model cannot be packed", name=name))
    return model.config, arrays


def _target(model: Model, path: str | os.PathLike[str], overwrite: bool) -> tuple[Path, bool]:
    """Where it will be, and whether as one file.

    Raises:
        CheckpointError: there is something that is not to be replaced.
    """
    from escriba.archive import has_file, is_archive
    from escriba.checkpoint import ARCHIVE
    from escriba.using import as_path

    target = as_path(path, tr("the place to pack to"))
    as_file = target.suffix.lower() == ARCHIVE
    if not target.exists():
        return target, as_file
    if model.folder is not None and model.folder.exists() and target.samefile(model.folder):
        raise CheckpointError(tr("{target} is the model itself", target=target), hint=tr("pack it to another place: -o OUT"))
    if not overwrite:
        raise CheckpointError(
            tr("{target} is there already", target=target),
            hint=tr("replace it: --overwrite (in Python overwrite=True); or choose another: -o OUT"),
        )
    is_model = has_file(target / "config.json") and is_archive(target) == as_file
    if not is_model and not (target.is_dir() and not as_file and not any(target.iterdir())):
        raise CheckpointError(
            tr("{target} is not a packed model, so it is not overwritten", target=target), hint=tr("pack it to another place: -o OUT")
        )
    return target, as_file


@contextmanager
def _beside(place: Path) -> Iterator[Path]:
    """A new folder beside a place, which is gone afterwards, unless it took that place."""
    from escriba.training.place import saying_what_failed, sibling

    new = sibling(place, "partial")
    with saying_what_failed(tr("{path} could not be made", path=new)):
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
    try:
        yield new
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _part(model: Model, on: str | os.PathLike[str] | None, encoding: str | None) -> tuple[Corpus | None, str | None]:
    """The text on which packing is measured; or none, and why.

    Raises:
        TextError: a file that is given cannot be read.
    """
    from escriba.measuring import text_to_measure

    try:
        part = text_to_measure(model, on, None, encoding)
    except TextError as error:
        if on is not None:
            raise
        return None, error.met
    return (part.shortened(MOST_MEASURED) if part.characters > MOST_MEASURED else part), None


def _measured(model: Model, files: ModelFiles, part: Corpus, progress: Callable[[int, int], None] | None) -> tuple[Evaluation, Evaluation]:
    """What a model makes of a text, and what the packed one makes of it."""
    from escriba.running import Engines
    from escriba.using import Model

    engines = Engines(files.config.model, files.config.vocab_size, files.weights)
    again = Model(engines, files.tokenizer, config=files.config)
    return model.evaluate(part, progress=progress), again.evaluate(part, progress=progress)


def _keep_history(model: Model, files: ModelFiles, arrays: Mapping[str, np.ndarray], new: Path, after: Evaluation | None) -> None:
    """Writes of the history what has neither paths nor dates; the loss is that of the packed weights, or none where it is not known."""
    import numpy as np

    from escriba.checkpoint import holds
    from escriba.tensorfile import replace_file

    folder, run = model.folder, model.run
    if folder is None or not (model.at is not None or holds(folder, files.config, files.tokenizer, arrays)):
        return
    begun, finished = run.last("begun"), run.last("finished")
    corpus = begun.get("corpus")
    before = begun.get("init_from")
    lines: list[dict[str, Any]] = []
    if begun:
        kept = {name: corpus[name] for name in OF_THE_TEXT if name in corpus} if isinstance(corpus, dict) else {}
        lines = [{"event": "begun", "parameters": begun.get("parameters"), "corpus": kept}]
        unknown = [one for one in before if isinstance(one, dict)] if isinstance(before, list) else []
        if unknown:  # that it began with others' weights is kept, for is_novel tells of it; which they were is not
            named: list[dict[str, Any]] = [
                {"model": "?", "sources": [], "sha256": one.get("sha256"), "hashes": bool(one.get("hashes"))} for one in unknown
            ]
            lines[0]["init_from"] = named
    if run.last("joined"):  # whoever begins with its weights must know that the choosing part was learnt
        lines.append({"event": "joined", "step": run.last("joined").get("step")})
    if finished:
        loss: dict[str, Any] = dict.fromkeys(("loss_nats", "bits_per_char", "perplexity", "held_out_symbols"))
        if model.at is None and all(np.array_equal(array, files.weights[name]) for name, array in arrays.items()):
            loss = {name: finished.get(name) for name in loss}
        elif after is not None:
            loss = dict(zip(loss, (after.loss_nats, after.bits_per_char, after.perplexity, after.symbols), strict=True))
        lines.append({"event": "finished", **{name: finished.get(name) for name in OF_THE_END}, **loss})
    if lines:
        said = "".join(json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n" for line in lines)
        replace_file(new / "metrics.jsonl", said.encode())


def _in_order(folder: Path) -> list[Path]:
    """The files of a folder, those first that are read first."""
    first = ("config.json", "tokenizer.json", "model.safetensors")
    rank = {name: number for number, name in enumerate(first)}
    return sorted(folder.iterdir(), key=lambda one: (rank.get(one.name, len(rank)), one.name))


def _weight_bytes(model: Model, arrays: Mapping[str, np.ndarray]) -> int:
    """The bytes of a model's weights where they are kept, or in memory."""
    from escriba.archive import file_size

    if model.folder is None or model.at is not None:
        return sum(array.nbytes for array in arrays.values())
    return file_size(model.folder / "model.safetensors")


def _bytes_of(path: Path) -> int:
    """The bytes of a file, or of all files in a folder."""
    return path.stat().st_size if path.is_file() else sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
