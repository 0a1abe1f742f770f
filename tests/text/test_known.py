"""The known texts: what the table says of them is so, they are fetched once into the cache, and they are read as it says."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import escriba
from escriba.errors import TextError
from escriba.settings import TextSettings
from escriba.text import cached, known
from escriba.text.address import checked_address
from escriba.text.cached import cache_folder, cached_file, local_copy
from escriba.text.known import KNOWN, is_fetched, known_reading, lines_of_poems

sys.path.insert(0, str(Path(__file__).resolve().parent))
from serving import Server, serving

FILES = {
    "shakespeare": "shakespeare.txt",
    "quijote": "quijote-latin1.txt",
    "names": "names.txt",
    "news": "ag_news_test.csv",
    "tang": "tang300.json",
}
"""The known texts that the folder of shared texts has, by the names they have there."""

POEMS = [
    {"title": "靜夜思", "author": "李白", "paragraphs": ["牀前看月光，疑是地上霜。", "舉頭望山月，低頭思故鄉。"], "tags": ["月"]},
    {"author": "佚名", "paragraphs": ["春眠不覺曉。"]},
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no proxies."""
    monkeypatch.setenv("ESCRIBA_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return tmp_path / "cache" / "texts"


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on localhost."""
    with serving() as server:
        yield server


@pytest.fixture
def own(server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[..., known.KnownText]:
    """Puts a text of the test's own in the table: ``own("mine", b"...")``."""

    def put(name: str, body: bytes, **facts: object) -> known.KnownText:
        address = server.serve(f"/{name}", body, headers={"ETag": '"one"'})
        like = KNOWN.get(name, KNOWN["shakespeare"])
        sha = hashlib.sha256(body).hexdigest()
        text = dataclasses.replace(like, **{"name": name, "bytes": len(body), "sha256": sha, "address": address, **facts})
        monkeypatch.setitem(KNOWN, name, text)
        return text

    return put


@pytest.fixture
def real(shared_data: Callable[[str], Path], server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], known.KnownText]:
    """Lets the server on localhost give a real known text: the table's size and hash stay as they are."""

    def put(name: str) -> known.KnownText:
        address = server.serve(f"/{name}", shared_data(FILES[name]).read_bytes())
        monkeypatch.setitem(KNOWN, name, dataclasses.replace(KNOWN[name], address=address))
        return KNOWN[name]

    return put


# --- the table ---


@pytest.mark.parametrize("text", KNOWN.values(), ids=KNOWN)
def test_the_table_is_sound(text: known.KnownText) -> None:
    """Each row has a size, a hash, an address that is fixed by a commit and needs no escaping, and a reading that the settings know."""
    assert KNOWN[text.name] is text
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", text.name)
    assert text.language in ("en", "es", "zh")
    assert 100_000 < text.bytes < 10_000_000
    assert re.fullmatch(r"[0-9a-f]{64}", text.sha256)
    assert re.fullmatch(r"https://raw\.githubusercontent\.com/[\w-]+/[\w-]+/[0-9a-f]{40}/[\w%/.-]+", text.address, re.ASCII)
    assert checked_address(text.address) == text.address
    assert text.title
    assert text.author
    assert text.licence
    assert TextSettings(**text.reading).encoding == text.encoding
    json.dumps(text.as_dict())


def test_the_table_is_not_mixed_up() -> None:
    """No two rows share a hash or an address, and the issue's names are there."""
    assert len({text.sha256 for text in KNOWN.values()}) == len({text.address for text in KNOWN.values()}) == len(KNOWN) == 8
    assert {"shakespeare", "quijote", "names", "tang"} <= set(KNOWN)
    assert {text.language for text in KNOWN.values()} == {"en", "es", "zh"}


def test_how_a_text_is_read_is_said_in_options() -> None:
    """What stands in the list can be typed."""
    assert KNOWN["quijote"].how == "--encoding latin-1 --strip-gutenberg"
    assert KNOWN["news"].how == "--column 2 --no-header"
    assert KNOWN["names"].how == "--documents line"
    assert KNOWN["shakespeare"].how == ""


def test_a_wrong_name_suggests_the_near_one() -> None:
    """A slip of the finger is an error that names the text that was meant, and all there are."""
    with pytest.raises(TextError, match="there is no known text 'quixote'") as error:
        escriba.read("text:quixote")
    assert error.value.hint == "did you mean text:quijote?"
    assert "war-and-peace" in str(error.value.expected)
    with pytest.raises(TextError) as error:
        known.known("")
    assert error.value.hint is None
    assert known.known("text:Quijote") is known.known("quijote") is KNOWN["quijote"]


# --- the real texts ---


@pytest.mark.parametrize("name", FILES)
def test_a_real_text_is_what_the_table_says(name: str, shared_data: Callable[[str], Path]) -> None:
    """Its size and its hash are those of the table."""
    data = shared_data(FILES[name]).read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (KNOWN[name].bytes, KNOWN[name].sha256)


def test_only_a_fetched_text_is_called_by_its_name(own: Callable[..., known.KnownText], tmp_path: Path) -> None:
    """A file of the same name that lies elsewhere, also in a folder of the same name, is called by its path."""
    own("mine", b"a text of mine\n" * 20)
    assert escriba.read("text:mine").sources[0].name == "text:mine"
    other = tmp_path / "texts" / "mine.txt"
    other.parent.mkdir()
    other.write_text("another text\n" * 20, encoding="utf-8")
    assert escriba.read(other).sources[0].name == other.as_posix()


def test_quijote_begins_and_ends_right(real: Callable[[str], known.KnownText]) -> None:
    """In its letters, without header and licence."""
    real("quijote")
    corpus = escriba.read("text:quijote")
    assert not corpus.is_documents
    assert "*** START" not in corpus.text
    assert "El ingenioso hidalgo don Quijote de la Mancha" in corpus.text[:500]
    assert "En un lugar de la Mancha, de cuyo nombre no quiero acordarme" in corpus.text
    assert corpus.text.rstrip().endswith("Fin")
    assert corpus.settings.encoding == "latin-1"
    assert corpus.sources[0].name == "text:quijote"
    assert "ñ" in corpus.text
    assert "Ã" not in corpus.text


@pytest.mark.parametrize(
    ("name", "documents", "first"),
    [("names", 32_033, "emma"), ("news", 7_600, "Fears for T N pension after talks"), ("tang", 366, "西陸蟬聲唱，南冠客思侵。\n")],
)
def test_real_lists_are_documents(real: Callable[[str], known.KnownText], name: str, documents: int, first: str) -> None:
    """Each name, title and poem is a document."""
    real(name)
    corpus = escriba.read(f"text:{name}")
    assert len(corpus.documents) == documents
    assert corpus.documents[0].startswith(first)


def test_tang_has_its_characters(real: Callable[[str], known.KnownText]) -> None:
    """Its poems have 2,574 distinct characters, the end of a line among them."""
    real("tang")
    assert len(set("".join(escriba.read("text:tang").documents))) == 2574


def test_shakespeare_is_one_stream(real: Callable[[str], known.KnownText]) -> None:
    """All of it, as it is."""
    real("shakespeare")
    corpus = escriba.read("text:shakespeare")
    assert corpus.characters == 1_115_394
    assert not corpus.is_documents


# --- poems ---


def test_poems_become_lines() -> None:
    """One poem a line, its verses parted by line ends; the same bytes every time."""
    made = lines_of_poems(json.dumps(POEMS).encode())
    first, second = (json.loads(line) for line in made.decode("utf-8").splitlines())
    assert first == {"title": "靜夜思", "author": "李白", "text": "牀前看月光，疑是地上霜。\n舉頭望山月，低頭思故鄉。"}
    assert second == {"author": "佚名", "text": "春眠不覺曉。"}
    assert made == lines_of_poems(json.dumps(POEMS, ensure_ascii=False).encode())
    assert "靜夜思".encode() in made


def test_poems_lie_beside_their_verified_original(own: Callable[..., known.KnownText], cache: Path) -> None:
    """The file that is read is made of the one that was checked, and made anew when it was changed."""
    data = json.dumps(POEMS).encode()
    own("tang", data)
    path = local_copy("text:tang")
    assert path == cache / "tang.jsonl"
    assert (cache / "tang.json").read_bytes() == data
    made = path.read_bytes()
    path.write_bytes(b'{"text": "other"}\n')
    assert local_copy("text:tang").read_bytes() == made
    assert escriba.read("text:tang").documents[1] == "春眠不覺曉。"


# --- the cache ---


def test_a_text_is_fetched_once(own: Callable[..., known.KnownText], server: Server, cache: Path) -> None:
    """The second use takes the file from the cache and asks nobody."""
    text = own("mine", b"a text of my own\n" * 50)
    assert cached_file(text) is None
    assert local_copy("text:mine") == cache / "mine.txt"
    assert cached_file(text) == cache / "mine.txt"
    assert escriba.read("text:mine").text == "a text of my own\n" * 50
    assert len(server.asked) == 1
    assert sorted(path.name for path in cache.iterdir()) == [".mine.txt.lock", "mine.txt"]


def test_a_changed_text_is_fetched_anew(own: Callable[..., known.KnownText], server: Server, cache: Path) -> None:
    """A file in the cache that is not what it was is not believed, even at the same length; that is said."""
    own("mine", b"good text")
    local_copy("text:mine")
    (cache / "mine.txt").write_bytes(b"evil text")
    with pytest.warns(UserWarning, match=r"mine\.txt is not as it was fetched any more"):
        assert local_copy("text:mine").read_bytes() == b"good text"
    assert len(server.asked) == 2


def test_another_text_than_the_table_says_is_refused(own: Callable[..., known.KnownText], server: Server, cache: Path) -> None:
    """A server that gives another text, or one of another size, gives nothing that is kept."""
    own("mine", b"good text")
    server.answers["/mine"].body = b"evil text"
    with pytest.raises(TextError, match="SHA-256"):
        local_copy("text:mine")
    server.answers["/mine"].body = b"evil text that is longer"
    with pytest.raises(TextError, match="24 bytes") as error:
        local_copy("text:mine")
    assert error.value.expected == "9"
    assert [path.name for path in cache.iterdir()] == [".mine.txt.lock"]


def test_what_is_in_the_cache_needs_no_network_and_no_writing(own: Callable[..., known.KnownText], server: Server, cache: Path) -> None:
    """A fetched text is read where there is neither a server nor leave to write."""
    own("mine", b"good text")
    address = server.serve("/book.txt", b"book")
    paths = local_copy("text:mine"), local_copy(address)
    server.answers.clear()
    for lock in cache.glob(".*.lock"):
        lock.unlink()
    before = sorted(cache.iterdir())
    cache.chmod(0o500)
    try:
        assert (local_copy("text:mine"), local_copy(address)) == paths
    finally:
        cache.chmod(0o700)
    assert sorted(cache.iterdir()) == before  # for those who may write everywhere: nothing was
    assert len(server.asked) == 2


def test_a_cache_that_cannot_be_written_to_is_told(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is named, and the variable that names another."""
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    monkeypatch.setenv("ESCRIBA_CACHE", str(tmp_path / "file"))
    with pytest.raises(TextError, match="cannot be written to") as error:
        local_copy(server.serve("/book.txt", b"book"))
    assert "ESCRIBA_CACHE" in str(error.value.hint)


def test_the_cache_is_where_the_system_keeps_such_things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable goes first; then each system has its place."""
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("ESCRIBA_CACHE")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == tmp_path / "Library" / "Caches" / "escriba"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "Local"))
    assert cache_folder() == tmp_path / "Local" / "escriba" / "Cache"
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "escriba"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / ".cache" / "escriba"


@pytest.mark.skipif(os.name == "nt", reason="Windows guesses the home of anybody")
def test_a_home_that_is_not_known_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable's value is said."""
    monkeypatch.setenv("ESCRIBA_CACHE", "~no-such-person/cache")
    with pytest.raises(TextError, match="ESCRIBA_CACHE is '~no-such-person/cache', and that home is not known"):
        cache_folder()


@pytest.mark.slow
def test_two_processes_fetch_at_once(own: Callable[..., known.KnownText], server: Server, cache: Path) -> None:
    """One fetches, the other waits and takes what it fetched; when the first is killed, the second goes on with its part."""
    body = b"0123456789" * 10_000
    address = server.serve("/slow.txt", body, stalls=[40_000], headers={"ETag": '"one"'})
    code = f"from escriba.text.cached import local_copy; print(local_copy({address!r}))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)

    first = start()
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size == 40_000 for path in ([*cache.glob("*.part")] if cache.exists() else [])):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    second = start()
    with contextlib.suppress(subprocess.TimeoutExpired):
        second.wait(2)
    assert second.poll() is None
    assert len(server.asked) == 1
    first.kill()
    first.communicate()
    said, _ = second.communicate(timeout=60)
    assert Path(said.strip()).read_bytes() == body
    assert server.ranges == [None, "bytes=40000-"]


@pytest.mark.parametrize("is_known", [True, False], ids=["name", "address"])
def test_what_another_process_fetched_meanwhile_is_taken(
    own: Callable[..., known.KnownText], server: Server, cache: Path, is_known: bool
) -> None:
    """Who had to wait looks again before fetching."""
    text = own("mine", b"good text")
    source = "text:mine" if is_known else text.address
    target = cache / ("mine.txt" if is_known else cached._name_for(text.address))
    found: list[Path] = []
    waiting = threading.Thread(target=lambda: found.append(local_copy(source)))
    with cached._alone(target):
        waiting.start()
        time.sleep(0.3)  # by now it looked in vain, and waits; should it be slower, it finds the file at once
        target.write_bytes(b"good text")
        record = json.dumps({"address": text.address, "sha256": text.sha256, "bytes": text.bytes})
        target.with_name(f"{target.name}.json").write_text(record, encoding="utf-8")
    waiting.join()
    assert found == [target]
    assert server.asked == []


def test_waiting_for_another_process_has_an_end(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the one that holds the file does not get on, that is said; and when it lets go, the next one may."""
    address = server.serve("/book.txt", b"book")
    monkeypatch.setattr(cached, "PATIENCE_S", 0.0)
    with (
        cached._alone(cached.texts_folder() / cached._name_for(address)),
        pytest.raises(TextError, match="another process is fetching") as error,
    ):
        local_copy(address)
    assert error.value.hint
    assert server.asked == []
    assert local_copy(address).read_bytes() == b"book"


# --- addresses ---


def test_an_address_works_where_a_file_does(server: Server, cache: Path) -> None:
    """It is fetched once; its hash, size and date are kept beside it."""
    address = server.serve("/files/my%20book.txt?raw=1", "Señor Quijano, señor Panza\n".encode("latin-1") * 40)
    for _ in range(2):
        corpus = escriba.read(address, encoding="latin-1")
        assert corpus.text.startswith("Señor Quijano")
    assert len(server.asked) == 1
    (file,) = cache.glob("*.txt")
    assert re.fullmatch(r"127\.0\.0\.1-my-book-[0-9a-f]{10}\.txt", file.name)
    about = json.loads(file.with_name(f"{file.name}.json").read_text(encoding="utf-8"))
    assert about["address"] == address
    assert about["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert about["bytes"] == file.stat().st_size
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", about["date"])


def test_an_address_keeps_its_suffix(server: Server) -> None:
    """A table is read as a table, also when it is packed."""
    table = b"title,year\nA first title,1999\nA second one,2000\n"
    import gzip

    for path, body in (("/t.csv", table), ("/v1.2/t.2020.csv.gz", gzip.compress(table))):
        address = server.serve(path, body)
        assert local_copy(address).name.endswith(".csv" if path == "/t.csv" else ".csv.gz")
        assert escriba.read(address, column=("title",)).documents == ("A first title", "A second one")


@pytest.mark.parametrize(
    "path", ["", "/", "/../../etc/passwd", "/%2e%2e%2f%2e%2e%2fboot", "/a%5Cb", "/CON", "/" + "x" * 300, "/a.b:c", "/a:b.txt"]
)
def test_no_address_leaves_the_cache(server: Server, cache: Path, path: str) -> None:
    """Whatever stands in an address, its file lies in the cache, under a name that every system allows."""
    address = server.serve(checked_address(f"http://h{path}").removeprefix("http://h"), b"a text")
    file = local_copy(address)
    assert file.parent == cache
    assert re.fullmatch(r"127\.0\.0\.1[A-Za-z0-9._-]{0,90}", file.name)
    assert file.read_bytes() == b"a text"


def test_different_addresses_are_different_files(server: Server) -> None:
    """The same name in two places, or with another query, is not the same text."""
    addresses = [server.serve(path, path.encode()) for path in ("/a/book.txt", "/b/book.txt", "/a/book.txt?v=2")]
    assert [local_copy(one).read_bytes() for one in addresses] == [b"/a/book.txt", b"/b/book.txt", b"/a/book.txt?v=2"]
    assert len({local_copy(one) for one in addresses}) == 3


def test_a_changed_file_of_an_address_is_fetched_anew(server: Server) -> None:
    """Its kept hash tells; and where the address gives another text by now, that is said too."""
    address = server.serve("/book.txt", b"first text")
    path = local_copy(address)
    path.write_bytes(b"evil text!")
    with pytest.warns(UserWarning, match="is not as it was fetched any more"):
        assert local_copy(address).read_bytes() == b"first text"
    path.write_bytes(b"")
    server.answers["/book.txt"].body = b"second text"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert local_copy(address).read_bytes() == b"second text"
    assert any("another text than before" in str(one.message) for one in caught)
    assert local_copy(address).read_bytes() == b"second text"


@pytest.mark.parametrize("note", [None, b"", b"[]", b'{"sha256": 3}', b"\xff"])
def test_a_file_without_a_record_counts_for_nothing(server: Server, note: bytes | None) -> None:
    """When a process ended between the file and its record, the file is fetched anew."""
    address = server.serve("/book.txt", b"a text")
    path = local_copy(address)
    about = path.with_name(f"{path.name}.json")
    if note is None:
        about.unlink()
    else:
        about.write_bytes(note)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert local_copy(address).read_bytes() == b"a text"
    assert json.loads(about.read_text(encoding="utf-8"))["bytes"] == 6


def test_what_is_fetched_is_told_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and addresses are; everything else is a path, a file of such a name too when its folder is said."""
    assert all(map(is_fetched, ("text:quijote", "https://example.org/a", "http://example.org", "HTTPS://example.org")))
    assert not any(map(is_fetched, ("quijote", "./text:quijote", "httpd.txt", "-", "C:/texts", "ftp://example.org", "context:a")))
    if os.name != "nt":
        monkeypatch.chdir(tmp_path)
        Path("text:quijote").write_text("a file of an odd name", encoding="utf-8")
        assert escriba.read("./text:quijote").text == "a file of an odd name"


def test_a_source_is_fetched_beside_files(server: Server, tmp_path: Path) -> None:
    """Addresses and files may stand together, and the same address twice counts once."""
    (tmp_path / "own.txt").write_text("my own lines\n", encoding="utf-8")
    address = server.serve("/book.txt", b"lines from afar\n")
    corpus = escriba.read(tmp_path / "own.txt", address, address)
    assert corpus.text == "my own lines\nlines from afar\n"
    assert cached.texts_folder().is_dir()


def test_a_folder_that_cannot_be_looked_into_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are not left out without a word because the folder they lie in is closed to us."""
    (tmp_path / "closed").mkdir()
    (tmp_path / "open.txt").write_text("a text that can be read\n", encoding="utf-8")
    looked_into = os.scandir

    def scandir(folder: str | Path) -> object:  # an administrator may look into every folder, so leave cannot simply be taken
        if Path(folder).name == "closed":
            raise PermissionError(13, "Permission denied", str(folder))
        return looked_into(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(TextError, match=r"/closed' cannot be read: Permission denied"):
        escriba.read(tmp_path)


def test_a_password_is_not_shown_beside_a_known_text() -> None:
    """What is said of texts that are read differently does not print one either."""
    with pytest.raises(TextError) as error:
        escriba.read("text:quijote", "https://anna:secret@example.org/book.txt")
    assert "https://example.org" in str(error.value)
    assert "secret" not in str(error.value)


# --- how they are read ---


def test_the_reading_fills_what_is_left_open() -> None:
    """What was named goes before what the text wants, and paths want nothing."""
    assert known_reading(["text:quijote"], {}) == {"encoding": "latin-1", "strip_gutenberg": True}
    assert known_reading(["text:quijote"], {"strip_gutenberg": False}) == {"encoding": "latin-1"}
    assert known_reading(["text:quijote", "text:regenta"], {}) == {"encoding": "latin-1", "strip_gutenberg": True}
    assert known_reading(["text:shakespeare", "text:war-and-peace", "own.txt"], {}) == {"strip_gutenberg": True}
    assert known_reading(["quijote.txt", Path("a"), "https://example.org/"], {}) == {}
    assert known_reading([], {}) == {}


@pytest.mark.parametrize(
    ("sources", "key", "other"),
    [
        (["text:quijote", "text:war-and-peace"], "encoding", "text:war-and-peace"),
        (["text:shakespeare", "text:quijote"], "encoding", "text:shakespeare"),
        (["book.txt", "text:quijote"], "encoding", "book.txt"),
        (["text:names", "text:shakespeare"], "documents", "text:shakespeare"),
        (["text:news", "text:tang"], "header", "text:tang"),
    ],
)
def test_texts_that_are_read_differently_are_refused(sources: list[str], key: str, other: str) -> None:
    """One setting holds for all: instead of a text that is silently misread there is an error that names both and the setting."""
    with pytest.raises(TextError, match="and one setting holds for all") as error:
        known_reading(sources, {})
    assert key in error.value.met
    assert other in error.value.met
    assert all(name in error.value.met for name in sources)
    assert key in str(error.value.hint)


def test_a_named_setting_settles_it() -> None:
    """With the setting named, it holds for all."""
    assert known_reading(["text:quijote", "text:war-and-peace"], {"encoding": "latin-1"}) == {"strip_gutenberg": True}


def test_whole_settings_are_left_alone(own: Callable[..., known.KnownText]) -> None:
    """Who gives all settings has decided them all: nothing is filled."""
    own("mine", "La señora\n".encode("latin-1") * 30, reading={"encoding": "latin-1"})
    assert escriba.read("text:mine").text.startswith("La señora")
    with pytest.raises(TextError, match="--encoding latin-1"):
        escriba.read("text:mine", settings=TextSettings())
    assert escriba.read("text:mine", encoding="cp1252").settings.encoding == "cp1252"
