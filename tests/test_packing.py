"""A packed model: int8 and bf16 that come back as they were packed, one zip file for a folder, nothing of its maker, no bomb, no harm."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

import escriba
from escriba import archive
from escriba.checkpoint import Config, find_model, load_folder, model_folders, read_config, save_head, save_weights
from escriba.engine.reference import ReferenceEngine
from escriba.errors import CheckpointError, EscribaError, SettingsError, TextError
from escriba.packing import kind_of, matrices
from escriba.quantized import bf16_bits, dequantized, from_bf16, quantized
from escriba.settings import ModelSettings, TextSettings, TrainSettings
from escriba.tensorfile import read_tensors, tensor_bytes, tensor_types
from escriba.text.tokenizer import CharTokenizer
from escriba.training.counting import count_ngrams
from escriba.weights import tensor_specs

GOLDEN = Path(__file__).resolve().parent / "golden"
SYMBOLS = "abcdefgh \n"
SECRETS = ("/home/maker", "maker-pc", "2026-01-02", "secret-book", "a sample of mine")
"""What stands in the history of the model that is packed, and in nothing that is packed."""


def save(folder: Path, model: ModelSettings, seed: int = 1) -> Path:
    """A model folder of random weights, with all that a training leaves in it."""
    tokenizer, random = CharTokenizer.fit(SYMBOLS), np.random.default_rng(seed)
    folder.mkdir(parents=True)
    save_head(folder, Config(TextSettings(), model, TrainSettings(), tokenizer.vocab_size), tokenizer)
    if model.cell == "counts":
        save_weights(folder, count_ngrams(tokenizer.encode(SYMBOLS * 20), tokenizer.vocab_size, model.order))
    else:
        specs = tensor_specs(model, tokenizer.vocab_size)
        save_weights(folder, {one.name: random.normal(0.0, 0.6, one.shape).astype(np.float32) for one in specs})
    corpus = {"sources": ["/home/maker/secret-book.txt"], "characters": 200, "documents": None, "labels": {"good": 3}, "sha256": "0" * 64}
    corpus |= {"train_symbols": 180, "choosing_symbols": 0, "held_out_symbols": 20, "choosing_sha256": None, "held_out_sha256": "1" * 64}
    begun = {"event": "begun", "date": "2026-01-02T03:04:05+01:00", "machine": "maker-pc", "parameters": 12, "corpus": corpus}
    begun["init_from"] = [{"model": "/home/maker/old", "sources": ["secret-book.txt"], "sha256": None, "hashes": False}]
    finished = {"event": "finished", "date": "2026-01-02", "reason": "length", "steps": 7, "loss_nats": 1.25, "bits_per_char": 1.75}
    lines = [begun, {"event": "progress", "step": 1}, finished]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (folder / "samples.txt").write_text("=== step 1\na sample of mine\n", encoding="utf-8")
    (folder / "training").mkdir()
    (folder / "training" / "sessions.jsonl").write_text('{"machine":"maker-pc"}\n', encoding="utf-8")
    (folder / "kept").mkdir()
    shutil.copy(folder / "model.safetensors", folder / "kept" / "step-3.safetensors")
    return folder


GRU = ModelSettings(cell="gru", embedding_dim=6, hidden_size=10)
SHAPES = {
    "gru": GRU,
    "lstm of two layers, tied": ModelSettings(cell="lstm", embedding_dim=8, hidden_size=8, num_layers=2, tied=True),
    "rnn, one-hot": ModelSettings(cell="rnn", embedding_dim=None, hidden_size=7),
    "ngram of codes": ModelSettings(cell="ngram", codes=True, hidden_size=9),
}


@pytest.fixture
def fox(tmp_path: Path) -> Path:
    """A small model as a training leaves it."""
    return save(tmp_path / "fox", GRU)


@pytest.fixture
def packed(fox: Path) -> Path:
    """The same in one zip file, in int8."""
    return escriba.load(fox).pack(fox.parent / "fox.zip").path


# --- the numbers ---


@given(
    arrays_of.arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 9)),
        elements=st.floats(-1e6, 1e6, width=32).filter(lambda x: x == 0 or abs(x) > 1e-20),
    )
)
def test_what_was_quantized_is_quantized_to_the_same(matrix: np.ndarray) -> None:
    """Whole numbers and scales, and so the matrix itself, come back bit for bit: an engine may quantize a packed model once more."""
    whole, scales = quantized(matrix)
    assert np.abs(whole.astype(int)).max() <= 127
    back = dequantized(whole, scales)
    assert (np.abs(back - matrix) <= 0.5001 * scales[:, None]).all()
    again, scales_again = quantized(back)
    np.testing.assert_array_equal(again, whole)
    np.testing.assert_array_equal(scales_again, scales)


def test_the_scales_of_a_million_rows_come_back() -> None:
    """(127 s) / 127 is s for every s: else a scale would wander."""
    most = np.abs(np.random.default_rng(1).normal(size=(1_000_000, 1))).astype(np.float32) + np.float32(1e-3)
    whole, scales = quantized(most)
    np.testing.assert_array_equal(quantized(dequantized(whole, scales))[1], scales)


def test_a_row_of_zeros() -> None:
    """It has the scale 0, and stays zero."""
    whole, scales = quantized(np.array([[0.0, 0.0], [1.0, -0.5]], np.float32))
    assert whole.tolist() == [[0, 0], [127, -64]]
    assert scales[0] == 0
    assert dequantized(whole, scales)[0].tolist() == [0.0, 0.0]


def test_bfloat16_is_rounded_to_the_nearest() -> None:
    """Halfway to the even one, as PyTorch and processors do; what is bfloat16 already stays."""
    near = np.array([1.0, 1.00390625, 1.01171875, 1.005, -2.5, 0.0], np.float32)  # the second and third lie halfway
    expected = [1.0, 1.0, 1.015625, 1.0078125, -2.5, 0.0]
    rounded = from_bf16(bf16_bits(near))
    assert rounded.tolist() == expected
    np.testing.assert_array_equal(from_bf16(bf16_bits(rounded)), rounded)


# --- what is packed ---


@pytest.mark.parametrize("weights", ["int8", "bf16", "float32"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["small.zip", "small"])
def test_packed_and_opened(shape: str, weights: str, name: str, tmp_path: Path) -> None:
    """The matrices are in fewer bits, the rest as it was; opened, packed again and unpacked it is the same model, bit for bit."""
    fox = save(tmp_path / "fox", SHAPES[shape])
    model = escriba.load(fox)
    done = model.pack(tmp_path / name, weights)
    assert (done.path, done.weights) == (tmp_path / name, weights)
    assert done.path.is_file() == name.endswith(".zip")
    files = load_folder(done.path)
    assert (files.config, files.tokenizer) == (model.config, model.tokenizer)
    before, inside = load_folder(fox).weights, matrices(files.config)
    assert inside
    assert all(one.endswith(("weight", "weight_ih", "weight_hh")) for one in inside)
    types = tensor_types(done.path / "model.safetensors")
    dtype = {"int8": "I8", "bf16": "BF16", "float32": "F32"}[weights]
    assert {one: types[one] for one in inside} == dict.fromkeys(inside, dtype)
    assert {types[one] for one in types if one not in inside} == {"F32"}
    assert kind_of(done.path) == weights
    for one, array in before.items():
        expected = array
        if one in inside and weights == "int8":
            expected = dequantized(*quantized(array))
        elif one in inside and weights == "bf16":
            expected = from_bf16(bf16_bits(array))
        assert files.weights[one].dtype == np.float32
        np.testing.assert_array_equal(files.weights[one], expected)
    opened = escriba.load(done.path)
    assert len(opened.generate("abc", 20, seed=1)) == 23
    again = opened.pack(tmp_path / f"again{Path(name).suffix}", weights)
    content = [archive.file_bytes(one.path / "model.safetensors", 10**9) for one in (done, again)]
    assert content[0] == content[1]
    float32 = load_folder(opened.pack(tmp_path / "unpacked", "float32").path).weights
    assert all(np.array_equal(array, files.weights[one]) for one, array in float32.items())


def test_codes_stay_as_they_are(tmp_path: Path) -> None:
    """What is multiplied by the numbers of symbols is not rounded; nor is a convolution, whose sums are not products of matrices."""
    config = read_config(save(tmp_path / "fox", SHAPES["ngram of codes"]))
    assert matrices(config) == ["output.weight"]


def test_an_ngram_that_counts(tmp_path: Path) -> None:
    """It is packed as it is, whatever weights are asked for, and says the very same."""
    fox = save(tmp_path / "fox", ModelSettings(cell="counts", order=3))
    done = escriba.load(fox).pack(tmp_path / "fox.zip", "int8")
    assert done.weights is None
    assert done.weight_bytes == done.weight_bytes_before
    assert escriba.load(done.path).score("abcab") == escriba.load(fox).score("abcab")
    assert kind_of(done.path) is None


def test_the_heads_are_as_they_were(fox: Path, packed: Path) -> None:
    """Settings and symbols are packed byte for byte, and the same model gives the same file."""
    for name in ("config.json", "tokenizer.json"):
        assert archive.file_bytes(packed / name, 10**9) == (fox / name).read_bytes()
    content = packed.read_bytes()
    assert {one.date_time for one in zipfile.ZipFile(packed).infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert escriba.load(fox).pack(packed, overwrite=True).path.read_bytes() == content


@pytest.mark.parametrize("name", ["other.zip", "other"])
def test_nothing_of_its_maker(name: str, fox: Path) -> None:
    """No path, date, machine, sample or training state goes with it; how much text there was, and how its end was, does."""
    done = escriba.load(fox).pack(fox.parent / name)
    names = zipfile.ZipFile(done.path).namelist() if name.endswith(".zip") else [one.name for one in done.path.rglob("*")]
    assert sorted(names) == ["config.json", "metrics.jsonl", "model.safetensors", "tokenizer.json"]
    for one in names:
        content = archive.file_bytes(done.path / one, 10**9).decode("utf-8", "replace")
        assert [secret for secret in SECRETS if secret in content] == []
        assert str(fox.parent) not in content
    run = escriba.load(done.path).run
    assert run.finished
    assert run.last("begun")["corpus"]["labels"] == {"good": 3}
    assert "sources" not in run.last("begun")["corpus"]
    assert run.last("finished")["steps"] == 7
    assert run.last("finished")["bits_per_char"] is None  # of other weights than these


def test_the_loss_of_the_same_weights_stays_known(fox: Path) -> None:
    """What float32 keeps exactly has the loss that the training measured; weights of another moment have none."""
    model = escriba.load(fox)
    assert escriba.load(model.pack(fox.parent / "a.zip", "float32").path).run.last("finished")["bits_per_char"] == 1.75
    model = escriba.load(fox, at="step:3")
    assert escriba.load(model.pack(fox.parent / "b.zip", "float32").path).run.last("finished")["bits_per_char"] is None


def test_measured_on_a_text(fox: Path) -> None:
    """Before and after, in bits per character; where there is no text it says why, and a missing file is an error that packs nothing."""
    model, place = escriba.load(fox), fox.parent
    text = place / "text.txt"
    text.write_text("abc fed gab\nhead bag\n" * 30, encoding="utf-8")
    done = model.pack(place / "fox.zip", on=text)
    expected = [escriba.load(one).evaluate(text).bits_per_char for one in (fox, done.path)]
    assert [done.bits_per_char_before, done.bits_per_char] == pytest.approx(expected)
    assert expected[0] == pytest.approx(expected[1], rel=0.01)
    assert (done.measured_on, done.characters, done.why_not) == (str(text), 630, None)
    assert f"{done.bits_per_char:.4f}" in str(done)
    unmeasured = model.pack(place / "b.zip")
    assert unmeasured.bits_per_char is None
    assert "cannot be read again" in str(unmeasured.why_not)
    with pytest.raises(TextError, match="no file"):
        model.pack(place / "c.zip", on=place / "no-such.txt")
    assert not (place / "c.zip").exists()
    assert [one.name for one in place.iterdir() if one.name.startswith(".")] == []


# --- where it goes ---


def test_nothing_is_overwritten_unasked(fox: Path, packed: Path) -> None:
    """Nor is the model itself, nor what is no model, when it is asked."""
    model, place = escriba.load(fox), fox.parent
    before = packed.read_bytes()
    with pytest.raises(CheckpointError, match="there already"):
        model.pack(packed, "float32")
    assert packed.read_bytes() == before
    assert model.pack(packed, "float32", overwrite=True).weights == "float32"
    assert packed.read_bytes() != before
    with pytest.raises(CheckpointError, match="the model itself"):
        model.pack(fox, overwrite=True)
    with pytest.raises(CheckpointError, match="the model itself"):
        escriba.load(packed).pack(packed, overwrite=True)
    (place / "letters").mkdir()
    (place / "letters" / "mine.txt").write_text("dear", encoding="utf-8")
    (place / "letters.zip").write_bytes(archive.archive_bytes({"mine.txt": b"dear"}))
    (place / "notes").write_text("notes", encoding="utf-8")
    for name in ("letters", "letters.zip", "notes"):
        with pytest.raises(CheckpointError, match="not a packed model"):
            model.pack(place / name, overwrite=True)
    other = save(place / "other", GRU)
    model.pack(other, overwrite=True)
    assert not (other / "training").exists()


def test_mistakes(fox: Path) -> None:
    """Other weights than there are, a path that is none, a model that is only an engine, and numbers that are none."""
    model = escriba.load(fox)
    with pytest.raises(SettingsError, match="weights is 'int4'") as caught:
        model.pack(fox.parent / "a.zip", "int4")
    assert caught.value.expected == "int8, bf16, float32"
    with pytest.raises(CheckpointError, match="the place to pack to is 7"):
        model.pack(7)  # type: ignore[arg-type]
    weights = dict(load_folder(fox).weights)
    bare = escriba.Model(ReferenceEngine(GRU, weights), model.tokenizer)
    with pytest.raises(CheckpointError, match="weights are not known"):
        bare.pack(fox.parent / "a.zip")
    weights["output.bias"] = weights["output.bias"] * np.nan
    model._weights = weights
    with pytest.raises(CheckpointError, match=r"output\.bias holds numbers that are not finite, so"):
        model.pack(fox.parent / "a.zip")
    assert not (fox.parent / "a.zip").exists()


def test_a_network_in_memory(tmp_path: Path) -> None:
    """It needs no folder: its weights are as they are now, and nothing is known of a training."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    tokenizer = CharTokenizer.fit(SYMBOLS)
    net = escriba.LanguageModel(tokenizer.vocab_size, cell="gru", hidden_size=8)
    done = escriba.Model(net, tokenizer).pack(tmp_path / "net.zip")
    assert (done.bytes_before, done.why_not is None) == (None, False)
    assert escriba.load(done.path).run.events == ()


def test_found_by_path_and_name(fox: Path, packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zip file is found as a folder is, whatever its name; under models/ it is listed, and suggested."""
    monkeypatch.chdir(fox.parent)
    (fox.parent / "models").mkdir()
    shutil.copy(packed, "models/small.zip")
    shutil.copy(packed, "fox (1).download")
    shutil.copytree(fox, "models/fox")
    (fox.parent / "models" / "notes.zip").write_text("no archive", encoding="utf-8")
    assert model_folders() == [Path("models/fox"), Path("models/small.zip")]
    assert find_model("small.zip") == Path("models/small.zip")
    assert escriba.load("fox (1).download").config == escriba.load(fox).config
    with pytest.raises(CheckpointError) as caught:
        find_model("small")
    assert str(Path("models/small.zip")) in str(caught.value.hint)
    with pytest.raises(CheckpointError, match="keeps no weights"):
        escriba.load(packed, at="step:3")


def test_a_folder_that_a_person_packed(fox: Path, tmp_path: Path) -> None:
    """A zip file of the folder itself opens too, with the hidden files that macOS adds."""
    by_hand = tmp_path / "by hand.zip"
    with zipfile.ZipFile(by_hand, "w") as whole:
        for one in sorted(fox.rglob("*")):
            whole.write(one, f"fox/{one.relative_to(fox).as_posix()}")
        whole.writestr("__MACOSX/fox/._config.json", b"\0")
    assert escriba.load(by_hand).score("abc") == escriba.load(fox).score("abc")
    assert escriba.load(by_hand).run.last("finished")["steps"] == 7


# --- what is refused ---


def members(path: Path) -> dict[str, bytes]:
    """The files in a zip file."""
    with zipfile.ZipFile(path) as whole:
        return {name: whole.read(name) for name in whole.namelist()}


def test_cut_or_changed_anywhere(packed: Path) -> None:
    """A zip file that is cut short or has a changed byte is refused in words, or is still the very same model."""
    whole, files = packed.read_bytes(), load_folder(packed)
    for at in (*range(0, len(whole), 97), *range(len(whole) - 30, len(whole))):
        for content in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :]):
            packed.write_bytes(content)
            try:
                found = load_folder(find_model(packed))
            except EscribaError:
                continue
            else:
                assert all(np.array_equal(array, files.weights[name]) for name, array in found.weights.items())


def rewritten(packed: Path, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    """Writes the weights of a zip file anew, changed, as raw arrays with the right hashes."""
    files = members(packed)
    (folder := packed.parent / "raw").mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    content = files["model.safetensors"]
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    metadata = json.loads(header.pop("__metadata__")["escriba"])
    metadata.pop("data_sha256")
    types = {"I8": np.int8, "F32": np.float32}
    raw = {
        name: np.frombuffer(content[8 + size :][slice(*one["data_offsets"])], types[one["dtype"]]).reshape(one["shape"]).copy()
        for name, one in header.items()
    }
    change(raw)
    files["model.safetensors"] = tensor_bytes(raw, metadata, sealed=True)
    packed.write_bytes(archive.archive_bytes(files))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raw: raw.pop("output.weight.scale"), r"lacks a tensor of the model: 'output\.weight\.scale'"),
        (lambda raw: raw.update({"output.weight.scale": raw["output.weight.scale"][:-1]}), r"output\.weight\.scale is F32 of shape"),
        (lambda raw: raw.update({"output.weight.scale": raw["output.weight.scale"].astype(np.int8)}), r"output\.weight\.scale is I8"),
        (lambda raw: raw["output.weight.scale"].__setitem__(0, -1.0), r"output\.weight holds numbers that Escriba does not write"),
        (lambda raw: raw["output.weight.scale"].__setitem__(0, np.nan), r"output\.weight holds numbers that Escriba does not write"),
        (lambda raw: raw["output.weight"].__setitem__((0, 0), -128), r"output\.weight holds numbers that Escriba does not write"),
        (lambda raw: raw.update({"output.bias": raw["output.bias"].astype(np.int8)}), r"output\.bias is I8 of shape"),
        (lambda raw: raw.update({"output.weight": raw["output.weight"][:, :-1]}), r"output\.weight is I8 of shape"),
        (lambda raw: raw.update({"other": raw["output.bias"]}), "does not have: 'other'"),
        (lambda raw: raw.update({"output.bias.scale": raw["output.bias"]}), r"does not have: 'output\.bias\.scale'"),
        (lambda raw: raw["output.bias"].__setitem__(0, np.inf), "not finite"),
    ],
    ids=["no scale", "short scale", "whole scale", "negative", "nan", "-128", "bias", "shape", "another", "another scale", "inf"],
)
def test_other_tensors_are_refused(change: Callable[[dict[str, np.ndarray]], None], said: str, packed: Path) -> None:
    """Names, types, shapes and numbers are those of the format, or the file is refused by the tensor's name."""
    rewritten(packed, change)
    with pytest.raises(CheckpointError, match=said):
        load_folder(packed)


def bomb(path: Path, name: str, size: int, method: int = zipfile.ZIP_DEFLATED) -> None:
    """Puts zeros in the place of a file in a zip file."""
    files = {**members(path), name: b"\0" * size}
    with zipfile.ZipFile(path, "w", method) as whole:
        for one, content in files.items():
            whole.writestr(one, content)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "metrics.jsonl"])
def test_a_bomb_is_not_unpacked(name: str, packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is far larger than what is packed is refused before a byte of it is unpacked; a history is then an empty one."""
    bomb(packed, name, 2**24 + 1)

    def no_opening(*_: object, **__: object) -> None:
        raise AssertionError("it was unpacked")

    if name == "metrics.jsonl":
        monkeypatch.setattr(zipfile.ZipFile, "open", no_opening)
        assert escriba.Model.run.fget(type("M", (), {"folder": packed})()).events == ()  # type: ignore[attr-defined]
        return
    if name == "config.json":
        monkeypatch.setattr(zipfile.ZipFile, "open", no_opening)
    with pytest.raises(CheckpointError, match=rf"{name}.* bytes"):
        load_folder(packed)


def test_weights_are_held_against_the_network_before_they_are_read(packed: Path) -> None:
    """However well they are packed: a member that is larger than the model's tensors is refused by its size."""
    bomb(packed, "model.safetensors", 3_000_000)
    with pytest.raises(CheckpointError, match="has 3,000,000 bytes") as caught:
        load_folder(packed)
    assert "for this model" in str(caught.value.expected)


def test_a_size_that_lies(packed: Path) -> None:
    """No more is unpacked than is told, and what is told and is not there is refused."""
    whole = packed.read_bytes()
    info = zipfile.ZipFile(packed).getinfo("config.json")
    entry = whole.rindex(b"PK\x01\x02", 0, whole.rindex(b"config.json"))
    for at, size in ((24, 10), (24, info.file_size + 9), (20, len(whole) * 2)):
        packed.write_bytes(whole[: entry + at] + size.to_bytes(4, "little") + whole[entry + at + 4 :])
        with pytest.raises(CheckpointError, match=r"fox\.zip"):
            load_folder(packed)


def test_other_archives(packed: Path) -> None:
    """Encrypted files, other ways of packing, a name that stands twice, and thousands of files are refused; so is an empty archive."""
    files = members(packed)
    whole = bytearray(packed.read_bytes())
    for sign, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        whole[whole.index(sign) + at] |= 1
    packed.write_bytes(whole)
    with pytest.raises(CheckpointError, match="is encrypted"):
        load_folder(packed)
    for name, method in (("lzma", zipfile.ZIP_LZMA), ("bzip2", zipfile.ZIP_BZIP2)):
        with zipfile.ZipFile(packed.with_name(name), "w", method) as other:
            for one, content in files.items():
                other.writestr(one, content)
        with pytest.raises(CheckpointError, match="packed in a way that is not read"):
            load_folder(packed.with_name(name))
    packed.write_bytes(archive.archive_bytes({**files, "config_json": files["config.json"]}).replace(b"config_json", b"config.json"))
    with pytest.raises(CheckpointError, match=r"holds 'config\.json' twice"):
        load_folder(packed)
    packed.write_bytes(archive.archive_bytes({**files, **{f"{number}.txt": b"" for number in range(1000)}}))
    with pytest.raises(CheckpointError, match="holds 1,004 files"):
        load_folder(packed)
    packed.write_bytes(archive.archive_bytes({"book.txt": b"once"}))
    with pytest.raises(CheckpointError, match=r"holds no config\.json"):
        find_model(packed)


def test_no_path_leads_out(packed: Path) -> None:
    """Members are read by their names into memory: what names other places writes nothing and is not looked at."""
    files = members(packed)
    before = sorted(packed.parent.rglob("*"))
    packed.write_bytes(
        archive.archive_bytes({**files, "../../evil.txt": b"x", "/etc/evil": b"x", "..\\evil": b"x", "kept/step-1.safetensors": b"x"})
    )
    escriba.load(packed).score("abc")
    assert sorted(packed.parent.rglob("*")) == before
    with pytest.raises(FileNotFoundError):
        archive.file_size(packed / "evil.txt")


def test_zeros_that_would_look_like_a_bomb_are_stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What shrinks so far that it would be refused is written unpacked, so that what was packed always opens."""
    monkeypatch.setattr(archive, "FREE_BYTES", 1000)
    path = tmp_path / "zeros.zip"
    path.write_bytes(archive.archive_bytes({"zeros": b"\0" * 100_000, "text": bytes(range(256)) * 4}))
    assert archive.file_bytes(path / "zeros", 10**6) == b"\0" * 100_000
    assert archive.file_bytes(path / "text", 10**6) == bytes(range(256)) * 4


# --- the format ---


def surprisals(path: Path, text: str) -> Iterator[float]:
    """What the reference engine makes of a text."""
    files = load_folder(path)
    model = escriba.Model(ReferenceEngine(files.config.model, files.weights), files.tokenizer, config=files.config)
    yield from model.score(text).surprisals


@pytest.mark.parametrize("name", ["int8", "bf16.zip"])
def test_models_that_were_packed_long_ago_still_open(name: str) -> None:
    """Two models that the first version with packing wrote, a folder in int8 and a zip file in bf16, give what they gave then."""
    expected: dict[str, Any] = json.loads((GOLDEN / "expected.json").read_text(encoding="utf-8"))[name.removesuffix(".zip")]
    np.testing.assert_allclose(list(surprisals(GOLDEN / name, expected["text"])), expected["surprisals"], atol=1e-4)
    row = load_folder(GOLDEN / name).weights["output.weight"][3][: len(expected["row"])]
    np.testing.assert_allclose(row, expected["row"], atol=1e-7)
    assert kind_of(GOLDEN / name) == name.removesuffix(".zip")
    assert escriba.load(GOLDEN / name).generate("The ", 30, seed=1)


def test_the_form_of_int8_is_that_of_the_page(packed: Path) -> None:
    """W = NAME of I8 by NAME.scale of F32, a scale a row, as docs/reference/format.md tells it."""
    content = archive.file_bytes(packed / "model.safetensors", 10**9)
    size = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    for name in matrices(read_config(packed)):
        whole, scale = header[name], header[f"{name}.scale"]
        assert (whole["dtype"], scale["dtype"], scale["shape"]) == ("I8", "F32", whole["shape"][:1])
        numbers = np.frombuffer(data[slice(*whole["data_offsets"])], "|i1").reshape(whole["shape"]).astype("<f4")
        scales = np.frombuffer(data[slice(*scale["data_offsets"])], "<f4")
        assert (np.abs(numbers).max(axis=1) == 127).all()
        np.testing.assert_array_equal(numbers * scales[:, None], load_folder(packed).weights[name])
    assert json.loads(header["__metadata__"]["escriba"])["format_version"] == 1
    assert read_tensors(packed / "model.safetensors")[0].keys() == load_folder(packed).weights.keys()
