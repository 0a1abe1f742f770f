"""The model folder as a format: what is saved comes back, and every kind of damage is refused by the name of its file."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from escriba.checkpoint import FORMAT_VERSION, Config, find_model, kept_weights, load_folder, model_folders, save_head, save_weights
from escriba.errors import CheckpointError
from escriba.settings import ModelSettings, TextSettings, TrainSettings
from escriba.tensorfile import read_tensors, sha256, tensor_bytes
from escriba.text.tokenizer import ByteTokenizer, CharTokenizer, Tokenizer, WordTokenizer
from escriba.weights import tensor_specs

HEADS = ("config.json", "tokenizer.json")
FILES = (*HEADS, "model.safetensors")


def weights_of(model: ModelSettings, vocab_size: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights of the right shapes."""
    random = np.random.default_rng(seed)
    return {spec.name: random.normal(size=spec.shape).astype(np.float32) for spec in tensor_specs(model, vocab_size)}


def save(folder: Path, tokenizer: Tokenizer, model: ModelSettings, seed: int = 0, **train: Any) -> Path:
    """A model folder of random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    save_head(folder, Config(TextSettings(unit=tokenizer.kind), model, TrainSettings(**train), tokenizer.vocab_size), tokenizer)
    save_weights(folder, weights_of(model, tokenizer.vocab_size, seed))
    return folder


TINY = ModelSettings(cell="gru", embedding_dim=2, hidden_size=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A very small model."""
    return save(tmp_path / "fox", CharTokenizer.fit("aábc"), TINY)


def damage(folder: Path, name: str, change: Callable[[Any], Any]) -> None:
    """Changes the JSON of a file, and rewrites the weights for it, so that nothing but the change is wrong."""
    path = folder / name
    path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")
    arrays, _ = read_tensors(folder / "model.safetensors")
    save_weights(folder, arrays)


@pytest.mark.parametrize(
    ("tokenizer", "model"),
    [
        (CharTokenizer.fit("el ñandú\n"), ModelSettings(cell="lstm", embedding_dim=3, hidden_size=4, num_layers=2)),
        (CharTokenizer.fit(["a", "b"], unknown=False), ModelSettings(cell="rnn", activation="relu", embedding_dim=None, hidden_size=4)),
        (WordTokenizer.fit("to be, or not to be"), ModelSettings(cell="gru", reset="before", embedding_dim=4, hidden_size=4, tied=True)),
        (ByteTokenizer.fit("日本", eos=True), ModelSettings(cell="gru", embedding_dim=3, hidden_size=4)),
    ],
    ids=["char", "documents", "word", "byte"],
)
def test_round_trip(tokenizer: Tokenizer, model: ModelSettings, tmp_path: Path) -> None:
    """Settings, tokenizer and weights come back as they were."""
    folder = save(tmp_path / "m", tokenizer, model, steps=7, clip_norm=0.5)
    found = load_folder(folder)
    assert found.path == folder
    assert found.config == Config(TextSettings(unit=tokenizer.kind), model, TrainSettings(steps=7, clip_norm=0.5), tokenizer.vocab_size)
    assert found.tokenizer == tokenizer
    expected = weights_of(model, tokenizer.vocab_size)
    assert found.weights.keys() == expected.keys()
    for name, array in expected.items():
        assert found.weights[name].dtype == np.float32
        np.testing.assert_array_equal(found.weights[name], array)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


def test_the_form_of_the_files(folder: Path) -> None:
    """The heads are JSON for people, in ASCII; the weights' metadata are their version and three hashes, under one key."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert list(config) == ["format", "format_version", "text", "model", "train"]
    assert (config["format"], config["format_version"], config["model"]["vocab_size"]) == ("escriba", FORMAT_VERSION, 5)
    for name in HEADS:
        content = (folder / name).read_bytes()
        assert content.isascii()
        assert content.endswith(b"}\n")
        assert len(content.splitlines()) > 5
    content = (folder / "model.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    hashes = {f"{name}_sha256": sha256((folder / f"{name}.json").read_bytes()) for name in ("config", "tokenizer")}
    (metadata,) = header.pop("__metadata__").items()
    told = json.loads(metadata[1])
    assert metadata == ("escriba", json.dumps(told, sort_keys=True, separators=(",", ":")))
    start = 8 + int.from_bytes(content[:8], "little")
    digest = hashlib.sha256()
    for name, one in sorted(header.items()):  # as docs/reference/format.md tells it
        digest.update(f"{name}:{one['shape']}:".encode() + content[start:][slice(*one["data_offsets"])])
    assert told == {"data_sha256": digest.hexdigest(), "format_version": 1, **hashes}
    assert set(header) == {spec.name for spec in tensor_specs(TINY, 5)}


def test_the_same_model_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    """All three files are the same byte for byte when the same is saved again."""
    other = save(tmp_path / "other", CharTokenizer.fit("aábc"), TINY)
    for name in FILES:
        assert (folder / name).read_bytes() == (other / name).read_bytes()


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short(folder: Path, name: str) -> None:
    """Cut anywhere, or gone, a file is refused by its name; that a file of tensors is refused cut at every byte is tested elsewhere."""
    whole = (folder / name).read_bytes()
    for length in (*range(0, len(whole), 13), *range(len(whole) - 9, len(whole))):
        (folder / name).write_bytes(whole[:length])
        with pytest.raises(CheckpointError) as caught:
            load_folder(folder)
        assert name in caught.value.met or name.removesuffix(".json") in caught.value.met
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        load_folder(folder)


@pytest.mark.parametrize("name", HEADS)
def test_a_changed_byte_of_a_head(folder: Path, name: str) -> None:
    """A changed byte is refused wherever it stands, even where the JSON is as good as before."""
    whole = (folder / name).read_bytes()
    for at in range(0, len(whole), 7):
        (folder / name).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(CheckpointError, match="fox"):
            load_folder(folder)


def test_a_changed_byte_of_the_weights(folder: Path) -> None:
    """Before the numbers every changed byte is refused by the file's name, the metadata's too."""
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    head = 8 + int.from_bytes(whole[:8], "little")
    for at in range(0, head, 2):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(CheckpointError, match=r"model\.safetensors"):
            load_folder(folder)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_weights_that_are_no_numbers(folder: Path, wrong: float) -> None:
    """They are refused by the tensor's name."""
    weights = weights_of(TINY, 5)
    weights["output.bias"][2] = wrong
    save_weights(folder, weights)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: output\.bias holds numbers that are not finite"):
        load_folder(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("output.bias"), "lacks a tensor of the model: 'output.bias'"),
        (lambda weights: weights.update(extra=np.zeros(1)), "holds a tensor that the model does not have: 'extra'"),
        (lambda weights: weights.update({"output.bias": np.zeros(4)}), r"output\.bias is F32 of shape \(4,\)"),
        (lambda weights: weights.update({"layers.0.weight_ih": np.zeros((2, 6))}), r"layers\.0\.weight_ih is F32 of shape \(2, 6\)"),
    ],
)
def test_weights_of_another_shape(folder: Path, change: Callable[[dict[str, np.ndarray]], Any], message: str) -> None:
    """Tensors missing, too many, or of another shape are refused by file and name."""
    weights = weights_of(TINY, 5)
    change(weights)
    save_weights(folder, weights)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_folder(folder)
    assert "model.safetensors" in caught.value.met


@pytest.mark.parametrize("name", FILES)
def test_files_of_two_models(folder: Path, tmp_path: Path, name: str) -> None:
    """A file of another model of the same shape is refused, whichever it is."""
    other = save(tmp_path / "other", CharTokenizer.fit("aábx"), TINY, seed=1, steps=3)
    load_folder(other)
    shutil.copy(other / name, folder / name)
    with pytest.raises(CheckpointError, match="was not written for this"):
        load_folder(folder)


def test_a_tokenizer_of_another_size(folder: Path, tmp_path: Path) -> None:
    """It is refused with both sizes."""
    shutil.copy(save(tmp_path / "other", CharTokenizer.fit("abcdef"), TINY) / "tokenizer.json", folder)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json has 7 symbols, config\.json 5"):
        load_folder(folder)


def without(value: dict[str, Any], name: str) -> dict[str, Any]:
    """A mapping without one name."""
    return {one: kept for one, kept in value.items() if one != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda config: [], "no configuration of Escriba", id="no object"),
        pytest.param(lambda config: {**config, "format": "other"}, "no configuration of Escriba", id="another format"),
        pytest.param(lambda config: {**config, "format_version": 2}, "format_version is 2, newer than this Escriba knows", id="newer"),
        pytest.param(lambda config: {**config, "format_version": 0}, "format_version is 0", id="no version"),
        pytest.param(lambda config: {**config, "format_version": True}, "format_version is True", id="a truth for a version"),
        pytest.param(lambda config: {**config, "format_version": "1"}, "format_version is '1'", id="a word for a version"),
        pytest.param(lambda config: {**config, "extra": {}}, "the sections are", id="another section"),
        pytest.param(lambda config: without(config, "train"), "the sections are", id="a section missing"),
        pytest.param(lambda config: {**config, "text": []}, "the sections are", id="a section that is none"),
        pytest.param(lambda config: {**config, "model": {**config["model"], "x": 1}}, "there is no setting 'x'", id="unknown setting"),
        pytest.param(lambda config: {**config, "text": {"self": 1}}, "there is no setting 'self'", id="self"),
        pytest.param(lambda config: {**config, "model": {**config["model"], "cell": "cnn"}}, "cell is 'cnn'", id="unknown cell"),
        pytest.param(lambda config: {**config, "model": {**config["model"], "hidden_size": 0}}, "hidden_size is 0", id="out of range"),
        pytest.param(lambda config: {**config, "model": without(config["model"], "vocab_size")}, "vocab_size is None", id="no vocab_size"),
        pytest.param(lambda config: {**config, "model": {**config["model"], "vocab_size": 0}}, "vocab_size is 0", id="vocab_size 0"),
        pytest.param(
            lambda config: {**config, "model": {**config["model"], "vocab_size": 6}}, "5 symbols, config.json 6", id="vocab_size 6"
        ),
        pytest.param(lambda config: {**config, "model": {**config["model"], "hidden_size": 16_384}}, "weight", id="huge"),
    ],
)
def test_a_config_that_is_wrong(folder: Path, change: Callable[[Any], Any], message: str) -> None:
    """Each fault of config.json is a CheckpointError that names the file and the fault."""
    damage(folder, "config.json", change)
    with pytest.raises(CheckpointError) as caught:
        load_folder(folder)
    assert message in caught.value.met
    assert "config.json" in caught.value.met or "model.safetensors" in caught.value.met


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda made: [], "is a list", id="no object"),
        pytest.param(lambda made: {**made, "kind": "letter"}, "kind is 'letter'", id="kind"),
        pytest.param(lambda made: {**made, "extra": 1}, "'extra'", id="unknown key"),
        pytest.param(lambda made: without(made, "eos"), "lacks eos", id="missing key"),
        pytest.param(lambda made: {**made, "unknown": 1}, "unknown is 1", id="a number for a truth"),
        pytest.param(lambda made: {**made, "symbols": ["a", "a", "b", "c"]}, "stands twice", id="twice"),
        pytest.param(lambda made: {**made, "symbols": ["a", "bb", "c", "d"]}, "symbols are not", id="two characters"),
        pytest.param(lambda made: {**made, "symbols": ["a", 1, "c", "d"]}, "symbols are not", id="a number"),
        pytest.param(lambda made: {**made, "frequencies": [1]}, "frequencies do not fit", id="frequencies"),
        pytest.param(lambda made: {**made, "frequencies": [-1, 1, 1, 1, 1]}, "frequencies are not all", id="less than none"),
        pytest.param(lambda made: {**made, "frequencies": [2**63, 1, 1, 1, 1]}, "frequencies are not all", id="too many"),
    ],
)
def test_a_tokenizer_that_is_wrong(folder: Path, change: Callable[[Any], Any], message: str) -> None:
    """Each fault of tokenizer.json is a CheckpointError that names the file and the fault."""
    damage(folder, "tokenizer.json", change)
    with pytest.raises(CheckpointError) as caught:
        load_folder(folder)
    assert message in caught.value.met
    assert "tokenizer.json" in caught.value.met


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("content", ['{"format": "escriba", "format": "escriba"}', '{"format": NaN}', "null", '"\ud800"'])
def test_json_that_is_ambiguous_or_none(folder: Path, name: str, content: str) -> None:
    """A key twice, a NaN, no object: refused by the file's name."""
    (folder / name).write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(CheckpointError) as caught:
        load_folder(folder)
    assert name in caught.value.met


@pytest.mark.parametrize("metadata", [{"format_version": 2}, {"extra": 1}, {"tokenizer_sha256": "0"}, {"config_sha256": None}], ids=str)
def test_metadata_that_are_wrong(folder: Path, metadata: dict[str, Any]) -> None:
    """Weights of another version, with other hashes, or with what nobody knows, are refused."""
    arrays, met = read_tensors(folder / "model.safetensors")
    (folder / "model.safetensors").write_bytes(tensor_bytes(arrays, {**met, **metadata}))
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_folder(folder)


def test_what_is_no_model_folder(tmp_path: Path) -> None:
    """An empty folder, and none, are refused in words."""
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(CheckpointError, match=r"is no model folder: it has no config\.json"):
            load_folder(path)


def test_training_is_never_read(folder: Path) -> None:
    """What only resuming needs may be damaged or gone: the model is the same."""
    (folder / "training").mkdir()
    (folder / "training" / "last.json").write_bytes(b"\xff")
    (folder / "metrics.jsonl").write_bytes(b"\xff{")
    assert load_folder(folder).weights.keys() == weights_of(TINY, 5).keys()


def test_kept_moments(folder: Path) -> None:
    """Weights of earlier moments are listed in order of number, load by name, and are bound to the model as its own are."""
    (folder / "kept").mkdir()
    for name in ("epoch-2", "epoch-10", "step-500", "stranger", "epoch-x"):
        save_weights(folder, weights_of(TINY, 5, seed=len(name)), f"kept/{name}.safetensors")
    assert kept_weights(folder) == ["epoch:2", "epoch:10", "step:500"]
    np.testing.assert_array_equal(load_folder(folder, "epoch:10").weights["output.bias"], weights_of(TINY, 5, seed=8)["output.bias"])
    np.testing.assert_array_equal(load_folder(folder).weights["output.bias"], weights_of(TINY, 5)["output.bias"])
    for at in ("epoch:3", "epoch-2", "stranger", "../model", ""):
        with pytest.raises(CheckpointError, match="keeps no weights of") as caught:
            load_folder(folder, at)
        assert "epoch:10" in (caught.value.expected or "")
    (folder / "kept" / "epoch-2.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"epoch-2\.safetensors"):
        load_folder(folder, "epoch:2")


def test_no_kept_moments(folder: Path) -> None:
    """Where none were kept the error says how to keep them."""
    assert kept_weights(folder) == []
    with pytest.raises(CheckpointError) as caught:
        load_folder(folder, "epoch:1")
    assert "--keep-every" in (caught.value.hint or "")


def test_finding_a_model(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is a folder; a bare name is a folder here, or one under models/; a folder here comes first."""
    monkeypatch.chdir(tmp_path)
    assert find_model(folder) == folder
    assert find_model("fox") == Path("fox")
    shutil.copytree(folder, tmp_path / "models" / "hen")
    shutil.copytree(folder, tmp_path / "models" / "fox")
    assert find_model("hen") == Path("models") / "hen"
    assert find_model("fox") == Path("fox")
    assert find_model("models/fox") == Path("models") / "fox"
    with pytest.raises(CheckpointError):
        find_model(str(tmp_path / "other" / "fox"))


def test_a_model_that_is_not_there(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error suggests the nearest of the models there are, or what to do when there are none."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="there is no model 'quijot'") as caught:
        find_model("quijot")
    assert caught.value.hint == "train one first: escriba train TEXT"
    shutil.copytree(folder, tmp_path / "models" / "quijote")
    with pytest.raises(CheckpointError) as caught:
        find_model("quijot")
    assert caught.value.hint == f"did you mean {Path('models') / 'quijote'}?"
    with pytest.raises(CheckpointError) as caught:
        find_model("zzz")
    assert caught.value.hint == "escriba list shows the models here"


def test_listing_models(folder: Path, tmp_path: Path) -> None:
    """Folders with a config.json, by name; what is hidden, half made or no model is left out."""
    assert model_folders(tmp_path / "nowhere") == []
    shutil.copytree(folder, tmp_path / "ant")
    shutil.copytree(folder, tmp_path / ".bee.partial")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert model_folders(tmp_path) == [tmp_path / "ant", tmp_path / "fox"]


def test_a_changed_number_is_noticed(folder: Path) -> None:
    """The lowest bit of one weight, which leaves a number like any other, is seen by the hash of the numbers."""
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-4] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged: its numbers are not those that were written"):
        load_folder(folder)
