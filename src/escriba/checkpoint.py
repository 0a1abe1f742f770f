"""The model folder as a format: config.json, tokenizer.json, model.safetensors; no pickle, no code, checked before it is believed.

It knows nothing of training or of engines: settings, a tokenizer and NumPy arrays go in and come out. A zip file of these files stands
for a folder wherever a model is read. The format is told in docs/reference/format.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from escriba.archive import has_file, is_archive
from escriba.errors import CheckpointError, EscribaError, near_name
from escriba.language import tr
from escriba.settings import ModelSettings, TextSettings, TrainSettings
from escriba.tensorfile import DTYPES, canonical_json, json_hashes, read_json, read_tensors, replace_file, tensor_bytes
from escriba.text.tokenizer import Tokenizer, tokenizer_from_json
from escriba.weights import COUNTED, tensor_specs

__all__ = [
    "ARCHIVE",
    "FORMAT_VERSION",
    "Config",
    "ModelFiles",
    "find_model",
    "holds",
    "kept_weights",
    "load_folder",
    "model_folders",
    "read_config",
    "save_head",
    "save_weights",
]

_T = TypeVar("_T")

FORMAT_VERSION = 1
MODELS = "models"
"""Where models live that were given no folder of their own."""
ARCHIVE = ".zip"
"""How the name of a model in one file ends."""


@dataclass(frozen=True)
class Config:
    """What config.json says.

    Attributes:
        text: how the text was read.
        model: the shape of the network.
        train: how it learns.
        vocab_size: symbols in the vocabulary.
    """

    text: TextSettings
    model: ModelSettings
    train: TrainSettings
    vocab_size: int

    def to_json(self) -> dict[str, Any]:
        """The content of config.json."""
        return {
            "format": "escriba",
            "format_version": FORMAT_VERSION,
            "text": self.text.to_json(),
            "model": {"vocab_size": self.vocab_size, **self.model.to_json()},
            "train": self.train.to_json(),
        }

    @classmethod
    def from_json(cls, value: Any) -> Config:
        """The opposite of `to_json`.

        Raises:
            CheckpointError: it is not a configuration of Escriba, or of a newer version.
            SettingsError: a setting is unknown or out of its range.
        """
        if not isinstance(value, dict) or value.get("format") != "escriba":
            raise CheckpointError(tr("this is no configuration of Escriba"), expected='"format": "escriba"')
        version = value.get("format_version")
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise CheckpointError(
                tr("format_version is {version!r}", version=version),
                expected=tr("a whole number, 1 to {most}", most=FORMAT_VERSION),
            )
        if version > FORMAT_VERSION:
            raise CheckpointError(
                tr("format_version is {version}, newer than this Escriba knows", version=version),
                expected=tr("at most {most}", most=FORMAT_VERSION),
                hint=tr("upgrade Escriba"),
            )
        sections = {"format", "format_version", "text", "model", "train"}
        if set(value) != sections or not all(isinstance(value[name], dict) for name in ("text", "model", "train")):
            raise CheckpointError(
                tr("the sections are {sections}", sections=sorted(value)),
                expected=tr("{sections}, the last three objects", sections=sorted(sections)),
            )
        model = dict(value["model"])
        vocab_size = model.pop("vocab_size", None)
        if not isinstance(vocab_size, int) or isinstance(vocab_size, bool) or not 1 <= vocab_size <= 2**31:
            raise CheckpointError(
                tr("vocab_size is {vocab_size!r}", vocab_size=vocab_size), expected=tr("a whole number of symbols, 1 or more")
            )
        return cls(TextSettings.parse(value["text"]), ModelSettings.parse(model), TrainSettings.parse(value["train"]), vocab_size)


@dataclass(frozen=True)
class ModelFiles:
    """A model folder, read and checked.

    Attributes:
        path: the folder.
        config: its settings.
        tokenizer: its tokenizer.
        weights: arrays by the names of `weights.py`, of float32 but for an n-gram that counts.
    """

    path: Path
    config: Config
    tokenizer: Tokenizer
    weights: Mapping[str, np.ndarray]


def save_head(folder: Path, config: Config, tokenizer: Tokenizer) -> None:
    """Writes config.json and tokenizer.json, once, before the first weights."""
    for name, value in (("config.json", config.to_json()), ("tokenizer.json", tokenizer.to_json())):
        replace_file(folder / name, _pretty(value).encode())


def _pretty(value: dict[str, Any]) -> str:
    """JSON for people: a line for every key of the first two levels."""

    def item(key: str, inner: Any) -> str:
        if isinstance(inner, dict) and inner:
            lines = ",\n".join(f"    {canonical_json(name)}: {canonical_json(one)}" for name, one in inner.items())
            return f"  {canonical_json(key)}: {{\n{lines}\n  }}"
        return f"  {canonical_json(key)}: {canonical_json(inner)}"

    return "{\n" + ",\n".join(item(key, inner) for key, inner in value.items()) + "\n}\n"


def _binding(folder: Path) -> dict[str, Any]:
    """What the metadata of weights say: the format's version, and the hashes of the two files for which they were written."""
    return {"format_version": FORMAT_VERSION, **json_hashes(folder, "config", "tokenizer")}


def save_weights(
    folder: Path, weights: Mapping[str, np.ndarray], file: str = "model.safetensors", packed: Mapping[str, str] | None = None
) -> None:
    """Writes the weights, with a hash of their numbers, bound by hashes to the folder's config.json and tokenizer.json.

    They are written in float32, but for the tensors of an n-gram that counts, which have types of their own.

    Args:
        folder: the model's, in which the two are.
        weights: by name.
        file: its name.
        packed: by name the matrices that are written as "int8" or "bf16".
    """
    arrays = {name: np.asarray(array, DTYPES[COUNTED.get(name, "F32")]) for name, array in weights.items()}
    replace_file(folder / file, tensor_bytes(arrays, _binding(folder), sealed=True, packed=packed))


def kept_weights(folder: Path) -> list[str]:
    """The names under which weights of earlier moments are kept, such as "epoch:3" and "step:500", in their order."""
    found = [re.fullmatch(r"(epoch|step)-(\d+)\.safetensors", path.name) for path in (folder / "kept").glob("*.safetensors")]
    return [f"{kind}:{number}" for kind, number in sorted((match[1], int(match[2])) for match in found if match)]


def _parsed(path: Path, parse: Callable[[Any], _T]) -> _T:
    """What a JSON file holds; every fault names the file."""
    value = read_json(path)
    try:
        return parse(value)
    except EscribaError as error:
        raise CheckpointError(f"{path}: {error.met}", expected=error.expected, hint=error.hint) from error


def read_config(folder: Path) -> Config:
    """The settings of a model folder.

    Raises:
        CheckpointError: config.json is missing, damaged, or of a newer version.
    """
    return _parsed(folder / "config.json", Config.from_json)


def load_folder(folder: Path, at: str | None = None) -> ModelFiles:
    """Reads a model folder.

    Args:
        folder: the folder, or a zip file of its files.
        at: an earlier moment whose weights were kept, such as "epoch:3"; None: the model itself.

    Raises:
        CheckpointError: the folder or a file is missing, damaged, of a newer version, or of another model.
    """
    if not has_file(folder / "config.json"):
        raise CheckpointError(
            tr("{folder} is no model folder: it has no config.json", folder=folder), hint=tr("escriba list shows the models here")
        )
    config = read_config(folder)
    tokenizer = _parsed(folder / "tokenizer.json", tokenizer_from_json)
    if tokenizer.vocab_size != config.vocab_size:
        raise CheckpointError(
            tr(
                "{folder}: tokenizer.json has {symbols} symbols, config.json {symbols_of_config}",
                folder=folder,
                symbols=tokenizer.vocab_size,
                symbols_of_config=config.vocab_size,
            )
        )
    specs = tensor_specs(config.model, config.vocab_size)
    shapes, dtypes = {spec.name: spec.shape for spec in specs}, {spec.name: spec.dtype for spec in specs}
    path = folder / "model.safetensors"
    if at is not None:
        kept = kept_weights(folder)
        if at not in kept:
            hint = None if kept else tr("none were kept; train with --keep-every epoch")
            raise CheckpointError(
                tr("{folder} keeps no weights of {at!r}", folder=folder, at=at), expected=", ".join(kept) or None, hint=hint
            )
        path = folder / "kept" / f"{at.replace(':', '-')}.safetensors"
    weights, metadata = read_tensors(path, shapes, dtypes)
    for name, value in _binding(folder).items():
        if metadata.pop(name, None) != value:
            file = name.replace("_sha256", ".json")
            raise CheckpointError(
                tr("{path} was not written for this {file}", path=path, file=file),
                expected=tr("files of one and the same model, unchanged"),
            )
    if metadata:
        raise CheckpointError(
            tr("{path} has unknown metadata: {names}", path=path, names=", ".join(metadata)), expected=tr("a file that Escriba wrote")
        )
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise CheckpointError(tr("{path}: {name} holds numbers that are not finite", path=path, name=name))
    return ModelFiles(folder, config, tokenizer, weights)


def holds(folder: Path, config: Config, tokenizer: Tokenizer, weights: Mapping[str, np.ndarray]) -> bool:
    """Whether a model folder holds just this model."""
    try:
        files = load_folder(folder)
    except EscribaError:
        return False
    if files.config != config or files.tokenizer != tokenizer or files.weights.keys() != weights.keys():
        return False
    return all(np.array_equal(array, np.asarray(weights[name])) for name, array in files.weights.items())


def model_folders(root: Path | None = None) -> list[Path]:
    """The model folders under models/, and the models in one zip file each, by name."""
    root = Path(MODELS) if root is None else root
    folders = [path.parent for path in root.glob("*/config.json")]
    packed = [path for path in root.glob("*") if path.suffix.lower() == ARCHIVE and is_archive(path)]
    return sorted(path for path in [*folders, *packed] if not path.name.startswith("."))


def find_model(name: str | Path) -> Path:
    """The folder or zip file that a person means: a path, or a name under models/.

    Raises:
        CheckpointError: there is none, and the message suggests the nearest name; or it is a zip file that is damaged.
    """
    path = Path(name)
    candidates = [path] if path.is_absolute() or len(path.parts) != 1 else [path, Path(MODELS) / path]
    for candidate in candidates:
        if has_file(candidate / "config.json"):
            return candidate
        if is_archive(candidate):
            raise CheckpointError(
                tr("{path} holds no config.json", path=candidate), expected=tr("a model folder, or a zip file that escriba pack wrote")
            )
    known = {folder.name: folder for folder in model_folders()}
    near = near_name(path.name, known)
    if near:
        hint = tr("did you mean {near}?", near=known[near])
    else:
        hint = tr("escriba list shows the models here") if known else tr("train one first: escriba train TEXT")
    raise CheckpointError(
        tr("there is no model {name!r}", name=str(name)),
        expected=tr("a model folder, a packed file, or a name under models/"),
        hint=hint,
    )
