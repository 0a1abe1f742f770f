"""Fetching a file from a server that cuts, stalls, redirects and lies: what is kept is whole and right, or nothing is."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from escriba import __version__
from escriba.errors import TextError
from escriba.text import download
from escriba.text.address import checked_address
from escriba.text.download import fetch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from serving import Server, serving

BODY = random.Random(3).randbytes(300_000)
SHA = hashlib.sha256(BODY).hexdigest()
TAG = {"ETag": '"one"'}
DATE = "Mon, 05 Jan 2026 10:00:00 GMT"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxy this machine has, the tests go without."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on localhost."""
    with serving() as server:
        yield server


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where to fetch to."""
    return tmp_path / "book.txt"


def get(address: str, target: Path, **how: Any) -> Path:
    """A fetch that does not wait long."""
    return fetch(address, target, **{"pause_s": 0.01, "stall_s": 5.0, **how})


def nothing_but_parts(target: Path) -> bool:
    """Whether there is no file under the final name, nor any that is not of an unfinished transfer."""
    return all(".part" in path.name for path in target.parent.iterdir())


# --- what goes well ---


def test_a_file_comes_whole(server: Server, target: Path) -> None:
    """The bytes are the server's; it hears who asks and that nothing is to be packed; nothing else stays in the folder."""
    seen: list[tuple[int, int | None]] = []
    address = server.serve("/book.txt", BODY)
    assert get(address, target, progress=lambda come, total: seen.append((come, total))) == target
    assert target.read_bytes() == BODY
    assert list(target.parent.iterdir()) == [target]
    assert seen[-1] == (len(BODY), len(BODY))
    assert [come for come, _ in seen] == sorted({come for come, _ in seen})
    (asked,) = server.asked
    assert asked["User-Agent"] == f"escriba/{__version__}"
    assert asked["Accept-Encoding"] == "identity"
    assert "Range" not in asked


def test_an_empty_file_is_a_file(server: Server, target: Path) -> None:
    """No bytes, declared as such, are a whole file: that it is no text is for the reader to say."""
    assert get(server.serve("/empty", b""), target).read_bytes() == b""


@pytest.mark.parametrize("how", [{"chunked": True}, {"declared": ""}], ids=["chunked", "no length"])
def test_a_file_of_unknown_length_comes_whole(server: Server, target: Path, how: dict[str, Any]) -> None:
    """Chunks, and a body that ends with the connection, need no declared length."""
    assert get(server.serve("/book.txt", BODY, **how), target).read_bytes() == BODY


def test_an_old_file_is_replaced(server: Server, target: Path) -> None:
    """What lay under the name before is gone once the new file is whole."""
    target.write_bytes(b"old")
    assert get(server.serve("/book.txt", BODY), target).read_bytes() == BODY


def test_redirects_are_followed(server: Server, target: Path) -> None:
    """Five are followed, relative ones and ones with letters of any script too."""
    for i in range(4):
        server.serve(f"/{i}", location=f"/{i + 1}")
    server.serve("/4", location=server.address("/b%C3%BCcher/libro.txt"))
    server.serve("/b%C3%BCcher/libro.txt", BODY)
    assert get(server.address("/0"), target).read_bytes() == BODY
    assert get(server.address("/bücher/libro.txt"), target).read_bytes() == BODY
    raw = server.address("/bücher/libro.txt").encode().decode("latin-1")  # as many servers send it
    assert get(server.serve("/raw", location=raw), target).read_bytes() == BODY


def test_what_passes_is_waited_for(server: Server, target: Path) -> None:
    """A server that is busy twice is asked a third time."""
    assert get(server.serve("/book.txt", BODY, statuses=[503, 429]), target).read_bytes() == BODY
    assert len(server.asked) == 3


# --- cuts ---


@pytest.mark.parametrize(
    ("headers", "version"),
    [(TAG, '"one"'), ({"Last-Modified": DATE}, DATE), ({"ETag": 'W/"one"', "Last-Modified": DATE}, DATE)],
    ids=["tag", "date", "weak tag"],
)
def test_a_cut_transfer_goes_on(server: Server, target: Path, headers: dict[str, str], version: str) -> None:
    """After each cut only the rest is asked for, on condition that the file is the same, by its tag or its date."""
    address = server.serve("/book.txt", BODY, cuts=[100_000, 50_000], headers=headers)
    assert get(address, target).read_bytes() == BODY
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]
    assert [one.get("If-Range") for one in server.asked] == [None, version, version]


def test_a_cut_transfer_starts_anew_where_ranges_are_ignored(server: Server, target: Path) -> None:
    """A server that answers with the whole file is believed: nothing is put twice."""
    address = server.serve("/book.txt", BODY, cuts=[100_000], headers=TAG, ranges=False)
    assert get(address, target, sha256=SHA, size=len(BODY)).read_bytes() == BODY
    assert server.ranges == [None, "bytes=100000-"]


def test_a_cut_transfer_of_a_file_without_version_starts_anew(server: Server, target: Path) -> None:
    """Where neither the server names a version nor the hash is known, two halves might not fit: the whole is fetched again."""
    assert get(server.serve("/book.txt", BODY, cuts=[100_000]), target).read_bytes() == BODY
    assert server.ranges == [None, None]


def test_a_part_of_another_address_is_not_gone_on_with(server: Server, target: Path) -> None:
    """What came of one file is no beginning of another, though both bear the same tag."""
    with pytest.raises(TextError):
        get(server.serve("/other.txt", b"other" * 50_000, cuts=[100_000], headers=TAG), target, attempts=1)
    assert get(server.serve("/book.txt", BODY, headers=TAG), target).read_bytes() == BODY
    assert server.ranges == [None, None]


def test_a_version_that_cannot_be_sent_back_is_none(server: Server, target: Path) -> None:
    """A tag with letters that no header may hold does not break the next request."""
    address = server.serve("/book.txt", BODY, cuts=[100_000], headers={"ETag": '"\x01one"'})
    assert get(address, target).read_bytes() == BODY
    assert server.ranges == [None, None]


def test_a_rest_in_portions_comes_whole(server: Server, target: Path) -> None:
    """A server may give less of the rest than was asked for: what counts is how long the whole is."""
    address = server.serve("/book.txt", BODY, cuts=[100_000], most=80_000, headers=TAG)
    assert get(address, target).read_bytes() == BODY
    assert server.ranges == [None, "bytes=100000-", "bytes=180000-", "bytes=260000-"]


def test_a_known_hash_is_enough_to_go_on(server: Server, target: Path) -> None:
    """With the hash known the halves are put together and checked, whatever the server says of versions."""
    assert get(server.serve("/book.txt", BODY, cuts=[100_000]), target, sha256=SHA, size=len(BODY)).read_bytes() == BODY
    assert server.ranges == [None, "bytes=100000-"]


def test_a_part_that_does_not_fit_is_given_up(server: Server, target: Path) -> None:
    """When what came earlier proves to be of another file, the whole is fetched once more, within the same call."""
    address = server.serve("/book.txt", BODY, cuts=[100_000])
    with pytest.raises(TextError):
        get(address, target, sha256=SHA, size=len(BODY), attempts=1)
    part = target.with_name("book.txt.part")
    part.write_bytes(b"x" * 100_000)
    assert get(address, target, sha256=SHA, size=len(BODY)).read_bytes() == BODY
    assert server.ranges == [None, "bytes=100000-", None]


def test_a_file_that_changed_in_between_starts_anew(server: Server, target: Path) -> None:
    """The server's file is another after the cut: If-Range brings the whole of the new one."""
    address = server.serve("/book.txt", b"old" * 50_000, cuts=[100_000], headers=TAG)
    with pytest.raises(TextError):
        get(address, target, attempts=1)
    server.serve("/book.txt", BODY, headers={"ETag": '"two"'})
    assert get(address, target).read_bytes() == BODY


@pytest.mark.parametrize(
    ("headers", "longer"),
    [({}, b""), ({"ETag": '"two"'}, b""), (TAG, b"x")],
    ids=["no version any more", "another version", "another length"],
)
def test_two_files_are_not_stitched_together(server: Server, target: Path, headers: dict[str, str], longer: bytes) -> None:
    """A server that goes on with another file, whatever was asked on condition, is not believed: the whole is fetched anew."""
    address = server.serve("/book.txt", b"old" * 100_000, cuts=[100_000], headers=TAG)
    with pytest.raises(TextError):
        get(address, target, attempts=1)
    server.serve("/book.txt", BODY + longer, headers=headers, conditions=False)
    assert get(address, target).read_bytes() == BODY + longer
    assert server.ranges == [None, "bytes=100000-", None]


@pytest.mark.parametrize(
    "how",
    [{"shift": 7}, {"body": b"short"}, {"content_range": f"bytes {'9' * 5000}-1/*"}],
    ids=["another place", "no such range", "nonsense"],
)
def test_a_wrong_range_is_not_believed(server: Server, target: Path, how: dict[str, Any]) -> None:
    """A range that begins elsewhere, or that is not there any more, leads to a new beginning."""
    address = server.serve("/book.txt", BODY, cuts=[100_000], headers=TAG)
    with pytest.raises(TextError):
        get(address, target, attempts=1)
    for name, value in how.items():
        setattr(server.answers["/book.txt"], name, value)
    assert get(address, target).read_bytes() == how.get("body", BODY)
    assert server.ranges == [None, "bytes=100000-", None]


def test_a_stall_is_a_cut(server: Server, target: Path) -> None:
    """When no byte comes for a while, the connection is given up and the rest fetched over another."""
    address = server.serve("/book.txt", BODY, stalls=[120_000], headers=TAG)
    assert get(address, target, stall_s=0.3).read_bytes() == BODY
    assert server.ranges == [None, "bytes=120000-"]


def test_a_server_that_does_not_hang_up_is_no_cut(server: Server, target: Path) -> None:
    """Once all that was declared has come, the file is whole, whether or not the connection ends."""
    address = server.serve("/book.txt", BODY, stalls=[len(BODY)])
    assert get(address, target, stall_s=0.3).read_bytes() == BODY
    assert len(server.asked) == 1


def test_chunks_that_end_too_soon_are_a_cut(server: Server, target: Path) -> None:
    """The end of a chunked body is marked; without its mark it is not whole."""
    address = server.serve("/book.txt", BODY, chunked=True, cuts=[50_000])
    assert get(address, target).read_bytes() == BODY
    assert len(server.asked) == 2


def test_a_cut_that_does_not_end_is_told(server: Server, target: Path) -> None:
    """After a few attempts it is said how much came; that is kept, and the next call goes on with it."""
    address = server.serve("/book.txt", BODY, cuts=[1000] * 3, headers=TAG)
    with pytest.raises(TextError, match=r"it ended after 3,000 of 300,000 bytes") as error:
        get(address, target, attempts=3)
    assert address in error.value.met
    assert "try again" in str(error.value.hint)
    assert nothing_but_parts(target)
    assert target.with_name("book.txt.part").read_bytes() == BODY[:3000]
    assert get(address, target).read_bytes() == BODY
    assert server.ranges[3:] == ["bytes=3000-"]


def test_a_killed_process_leaves_what_it_has(server: Server, target: Path) -> None:
    """Killed in the middle, without a chance to tidy up, a process leaves a part that the next one goes on with."""
    address = server.serve("/book.txt", BODY, stalls=[3000], headers=TAG)
    code = f"from pathlib import Path; from escriba.text.download import fetch; fetch({address!r}, Path({str(target)!r}), stall_s=120)"
    child = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    part = target.with_name("book.txt.part")
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size == 3000):
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.kill()
    child.wait()
    assert nothing_but_parts(target)
    assert get(address, target).read_bytes() == BODY
    assert server.ranges == [None, "bytes=3000-"]


def test_an_interruption_leaves_what_it_has(server: Server, target: Path) -> None:
    """Ctrl-C goes through, and what has come stays to be gone on with."""
    address = server.serve("/book.txt", BODY, headers=TAG)

    def interrupt(come: int, _: int | None) -> None:
        if come > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(address, target, progress=interrupt)
    kept = target.with_name("book.txt.part").stat().st_size
    assert kept > 100_000
    assert get(address, target).read_bytes() == BODY
    assert server.ranges == [None, f"bytes={kept}-"]


def test_a_part_that_is_whole_needs_no_server(target: Path) -> None:
    """All bytes came, and the process died before it looked at them: with the hash known they are checked and taken."""
    address = "http://nowhere.invalid/book.txt"
    target.with_name("book.txt.part").write_bytes(BODY)
    about = {"address": address, "version": None, "total": len(BODY)}
    target.with_name("book.txt.part.json").write_text(json.dumps(about), encoding="utf-8")
    assert get(address, target, sha256=SHA, size=len(BODY)).read_bytes() == BODY


# --- lies ---


@pytest.mark.parametrize("declared", [200_000, 400_000], ids=["shorter", "longer"])
@pytest.mark.parametrize("known", [True, False], ids=["size known", "size unknown"])
def test_a_length_that_lies_is_noticed(server: Server, target: Path, declared: int, known: bool) -> None:
    """A declared length that is not that of the file is an error which says both, and nothing stays under the name."""
    address = server.serve("/book.txt", BODY, declared=declared)
    with pytest.raises(TextError) as error:
        get(address, target, size=len(BODY) if known else None, attempts=2)
    said = str(error.value)
    assert f"{declared:,}" in said
    assert known is False or f"{len(BODY):,}" in said
    assert nothing_but_parts(target)


def test_a_missing_length_is_noticed_where_the_size_is_known(server: Server, target: Path) -> None:
    """Without a declared length the known size says whether all has come, and the rest is fetched."""
    address = server.serve("/book.txt", BODY, declared="", cuts=[100_000])
    assert get(address, target, sha256=SHA, size=len(BODY)).read_bytes() == BODY
    assert server.ranges == [None, "bytes=100000-"]


def test_another_text_than_it_should_be_is_refused(server: Server, target: Path) -> None:
    """Of the right length but with another hash: both hashes are said, and nothing at all is kept."""
    other = bytes(len(BODY))
    with pytest.raises(TextError) as error:
        get(server.serve("/book.txt", other), target, sha256=SHA, size=len(BODY))
    assert hashlib.sha256(other).hexdigest() in error.value.met
    assert error.value.expected == SHA
    assert list(target.parent.iterdir()) == []
    assert len(server.asked) == 1


@pytest.mark.parametrize("how", [{}, {"chunked": True}, {"declared": ""}, {"declared": 100}], ids=["declared", "chunked", "none", "lie"])
def test_more_than_the_cap_is_refused(server: Server, target: Path, how: dict[str, Any]) -> None:
    """The cap holds whatever the server declares, and no more than the cap is ever written."""
    address = server.serve("/book.txt", BODY, **how)
    sizes: list[int] = []
    with pytest.raises(TextError, match=r"(has|sends more than) \d.* bytes") as error:
        get(address, target, most_bytes=100_000, progress=lambda come, _: sizes.append(come))
    assert f"at most {100 if how.get('declared') else 100_000:,}" in str(error.value)
    assert max(sizes, default=0) <= 100_000
    assert list(target.parent.iterdir()) == []


def test_a_web_page_is_no_text(server: Server, target: Path) -> None:
    """The page around a text, or that of a network which asks for a login, is not taken for the text."""
    address = server.serve("/book.txt", b"<html>", headers={"Content-Type": "text/html; charset=utf-8"})
    with pytest.raises(TextError, match="is a web page, not a text"):
        get(address, target)
    assert get(address, target.with_suffix(".html")).read_bytes() == b"<html>"


def test_what_is_packed_unasked(server: Server, target: Path) -> None:
    """A gzip is kept as it comes, since reading unpacks it; a form that could not be unpacked is refused."""
    packed = gzip.compress(BODY)
    address = server.serve("/book.txt", packed, headers={"Content-Encoding": "gzip"})
    assert get(address, target).read_bytes() == packed
    server.answers["/book.txt"].headers["Content-Encoding"] = "br"
    with pytest.raises(TextError, match="packed as 'br'"):
        get(address, target.with_name("other"))


# --- where it must not go, and what answers no file ---


def test_redirects_have_an_end(server: Server, target: Path) -> None:
    """A circle of addresses is left after five steps."""
    server.serve("/a", location="/b")
    with pytest.raises(TextError, match="more than 5 times"):
        get(server.serve("/b", location="/a"), target)
    assert len(server.asked) == 6


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://localhost/book.txt", "data:text/plain,hello", "http://u:p@localhost/"])
def test_redirects_lead_to_http_alone(server: Server, target: Path, to: str) -> None:
    """A server cannot send us to a file of this machine, nor to anything else."""
    with pytest.raises(TextError, match="does not follow"):
        get(server.serve("/book.txt", location=to), target)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("file:///etc/passwd", "not an address of a text"),
        ("ftp://example.org/a.txt", "not an address of a text"),
        ("https:///a.txt", "not an address of a text"),
        ("https://example.org:port/a.txt", "not an address"),
        ("https://anna:secret@example.org/a.txt", "the address https://example.org holds a user's name or password"),
        ("https://anna:secret@example.org:port/a.txt", "holds a user's name or password"),
        ("ftp://anna:secret@example.org/a.txt", "holds a user's name or password"),
        ("https://anna:secret/1@example.org/a.txt", "'https://example.org' is not an address"),
        ("https://anna:secret@[example.org/a.txt", "is not an address"),
        ("https:/anna:secret@example.org/a.txt", "'example.org' is not an address of a text"),
        ("https://exa mple.org/a.txt", "its host has characters that no host has"),
        ("https://example.org%20/a.txt", "its host has characters that no host has"),
        ("https://example.org\\a.txt", "its host has characters that no host has"),
        ("https://a(b).org/a.txt", "its host has characters that no host has"),
    ],
)
def test_what_is_no_address_is_refused(target: Path, address: str, said: str) -> None:
    """Only http and https, with a host; and no passwords, which would be shown and kept."""
    with pytest.raises(TextError, match=said) as error:
        fetch(address, target)
    assert "secret" not in str(error.value)


def test_an_address_goes_over_the_wire_in_ascii() -> None:
    """Letters of any script are escaped, what is escaped stays, the fragment is left out."""
    assert checked_address("https://example.org/全/a b.txt?q=é#part") == "https://example.org/%E5%85%A8/a%20b.txt?q=%C3%A9"
    assert checked_address("HTTPS://bücher.example/%E5%85%A8") == "https://xn--bcher-kva.example/%E5%85%A8"
    assert checked_address("http://[::1]:80") == "http://[::1]:80/"


@pytest.mark.parametrize("host", ["anna:secret@localhost", "anna:secret@localhost:port", "anna:secret/@localhost"])
def test_a_redirect_with_a_password_does_not_show_it(server: Server, target: Path, host: str) -> None:
    """Of where it leads only the scheme and the host are said."""
    with pytest.raises(TextError, match=r"leads to 'http://localhost.*', where Escriba does not follow") as error:
        get(server.serve("/book.txt", location=f"http://{host}/book.txt?key=1"), target)
    assert "secret" not in str(error.value)
    assert "anna" not in str(error.value)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_told_at_once(server: Server, target: Path, status: int) -> None:
    """An answer that will not change is not asked for again; the address, the answer and a way out are said."""
    address = server.serve("/book.txt", BODY, statuses=[status] * 9)
    with pytest.raises(TextError, match=str(status)) as error:
        get(address, target)
    assert address in error.value.met
    assert error.value.hint
    assert len(server.asked) == 1
    assert list(target.parent.iterdir()) == []


def test_a_refusal_that_stays_is_told(server: Server, target: Path) -> None:
    """A server that stays busy is asked a few times, and then its answer is said."""
    with pytest.raises(TextError, match="the server answers 503"):
        get(server.serve("/book.txt", BODY, statuses=[503] * 9), target)
    assert len(server.asked) == 4


def test_no_server_is_told(target: Path) -> None:
    """Nobody at the port, and a host that is not there, are errors of Escriba's own."""
    with serving() as gone:
        address = gone.address("/book.txt")
    with pytest.raises(TextError, match="could not be fetched"):
        get(address, target)
    with pytest.raises(TextError, match=r"nowhere\.invalid was not found"):
        get("http://nowhere.invalid/book.txt", target)


def test_a_host_that_is_not_there_is_the_one_that_was_looked_up(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a redirect it is the host that was led to; with a proxy set, the proxy, whose password is not shown."""
    with pytest.raises(TextError, match=r"nowhere\.invalid was not found") as error:
        get(server.serve("/book.txt", location="http://nowhere.invalid/book.txt"), target)
    assert "127.0.0.1 was" not in str(error.value)
    monkeypatch.setenv("http_proxy", "http://anna:secret@proxy.invalid:3128")
    with pytest.raises(TextError, match=r"the proxy for http, which is set to http://proxy\.invalid:3128, was not found") as error:
        get("http://example.org/book.txt", target)
    assert error.value.hint == "is http_proxy right?"
    assert "secret" not in str(error.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is full, as Linux has it")
def test_a_full_disk_is_told(server: Server, target: Path) -> None:
    """When there is no space, that is said, and nothing is left that fills the disk."""
    target.with_name("book.txt.part").symlink_to("/dev/full")
    with pytest.raises(TextError, match="could not be written: No space left on device"):
        get(server.serve("/book.txt", BODY), target)
    assert list(target.parent.iterdir()) == []


# --- proxies and certificates ---


def test_a_proxy_is_used_and_left_out_as_the_variables_say(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """http_proxy names a proxy, which gets the whole address; no_proxy names hosts that are asked directly."""
    with serving() as proxy:
        proxy.serve("http://books.invalid/book.txt", BODY)
        monkeypatch.setenv("http_proxy", proxy.address(""))
        assert get("http://books.invalid/book.txt", target).read_bytes() == BODY
        assert [one["path"] for one in proxy.asked] == ["http://books.invalid/book.txt"]
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert get(server.serve("/book.txt", BODY), target).read_bytes() == BODY
        assert len(proxy.asked) == 1


@pytest.fixture
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """A server with a certificate, and the file of the authority that signed it, whom nobody trusts yet."""
    trustme = pytest.importorskip("trustme", reason="trustme is not installed")
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    file = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    with serving(context) as server:
        yield server, file


def test_certificates_are_checked(secure: tuple[Server, Path], target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whom nobody vouches for is refused, once, and SSL_CERT_FILE names who may vouch."""
    server, authority = secure
    address = server.serve("/book.txt", BODY)
    with pytest.raises(TextError, match="the certificate of the server is not trusted") as error:
        get(address, target)
    assert "SSL_CERT_FILE" in str(error.value.hint)
    assert server.asked == []
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    assert get(address, target).read_bytes() == BODY


def test_https_is_not_led_down_to_http(secure: tuple[Server, Path], server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From https only https is followed; up from http is."""
    safe, authority = secure
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    open_address = server.serve("/book.txt", BODY)
    with pytest.raises(TextError, match=re.escape(f"leads from https down to {open_address}")):
        get(safe.serve("/down", location=open_address), target)
    assert server.asked == []
    up = server.serve("/up", location=safe.serve("/book.txt", BODY))
    assert get(up, target).read_bytes() == BODY


def test_the_cap_is_two_gigabytes() -> None:
    """A server cannot fill the disk with an address that was mistaken for a text's."""
    assert download.MOST_BYTES == 2_000_000_000
