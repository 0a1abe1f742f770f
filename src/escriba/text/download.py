"""Fetches one file over HTTP: resumed when cut, capped, checked, and under its name only when it is whole.

It knows nothing of texts and of the cache: it is told where from, where to, and what is expected.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from escriba import __version__
from escriba.errors import TextError
from escriba.language import later, tr
from escriba.text.address import BY_HAND, checked_address, led_on, shown

__all__ = ["MOST_BYTES", "Progress", "fetch", "hash_of"]

Progress = Callable[[int, int | None], None]
"""Called with the bytes that have come, and how many there will be, where that is known."""

MOST_BYTES = 2_000_000_000
CHUNK = 65_536
MOST_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
PASSING = (408, 425, 429, 500, 502, 503, 504)  # answers that may be others in a moment
SCANNED_S = (0.05, 0.2, 0.5)  # Windows refuses to rename as long as a virus scanner has the new file open
WEB_PAGES = (".htm", ".html", ".xhtml")
HINTS = {
    404: later("look whether the address is right"),
    407: later("the proxy wants a name: http://name:password@proxy in https_proxy"),
}


class _Cut(Exception):
    """A transfer broke off for a reason that may pass; another attempt goes on from there."""


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: each is looked at before it is followed."""

    def redirect_request(self, *_: Any) -> None:
        """No request follows."""


def fetch(
    address: str,
    target: Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    most_bytes: int = MOST_BYTES,
    progress: Progress | None = None,
    stall_s: float = 20.0,
    attempts: int = 4,
    pause_s: float = 0.5,
) -> Path:
    """Fetches a file. One process at a time may fetch to one target.

    What has come lies in NAME.part beside the target until it is whole and checked, and is gone on with after a cut, in
    this call or in a later one, where the server can: it must honour ranges, and either name a version or the hash be known.
    Proxies are those of http_proxy, https_proxy and no_proxy, or of the system.

    Args:
        address: http or https.
        target: the file; its folder must exist.
        sha256: what its hash must be, as 64 hexadecimal digits; None: any.
        size: how many bytes it must have; None: as many as the server declares.
        most_bytes: more are refused, whatever the server declares.
        progress: called after every piece.
        stall_s: seconds without a byte after which the transfer counts as cut.
        attempts: how often to try, 1 or more.
        pause_s: seconds before the second attempt; doubled before each further one.

    Returns:
        the target.

    Raises:
        TextError: the address is none, cannot be reached, or gives something else; it is too large; it cannot be written.
    """
    transfer = _Transfer(checked_address(address), target, sha256, size, most_bytes if size is None else size, progress, stall_s)
    reason = ""
    for attempt in range(attempts):
        if attempt:
            time.sleep(pause_s * 2 ** (attempt - 1))
        try:
            transfer.run()
            return target
        except _Cut as cut:
            reason = str(cut)
    raise TextError(
        tr("{address} could not be fetched: {reason}", address=address, reason=reason),
        hint=tr("try again: what has come is kept; or download it with a browser, and give the file instead"),
    )


def hash_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass
class _Transfer:
    """One file on its way: the part that has come, and beside it what is needed to go on."""

    address: str
    target: Path
    sha256: str | None
    size: int | None
    most_bytes: int
    progress: Progress | None
    stall_s: float

    def __post_init__(self) -> None:
        self.part = self.target.with_name(f"{self.target.name}.part")
        self.about = self.target.with_name(f"{self.target.name}.part.json")
        self.noted: int | None = None  # how many bytes the file had when the part was begun
        self.opener = urllib.request.build_opener(_Stay())

    def run(self) -> None:
        """One attempt, up to the file under its name."""
        kept, version = self._kept()
        if self.size is None or kept < self.size:
            with self._opened(kept, version) as response:
                self._receive(response, kept if response.status == 206 else 0)
        self._check(kept)
        self._take_name()
        self.about.unlink(missing_ok=True)

    def _take_name(self) -> None:
        for pause_s in (*SCANNED_S, None):
            try:
                self.part.replace(self.target)
                return
            except OSError as error:
                if pause_s is None or not isinstance(error, PermissionError):
                    raise self._unwritable(error) from error
                time.sleep(pause_s)

    def drop(self) -> None:
        """Leaves nothing of what has come."""
        self.part.unlink(missing_ok=True)
        self.about.unlink(missing_ok=True)

    def _kept(self) -> tuple[int, str | None]:
        """How many bytes of an earlier attempt can be gone on with, and of which version they are."""
        try:
            about = json.loads(self.about.read_text(encoding="utf-8"))
            kept, version, total = self.part.stat().st_size, about["version"], about["total"]
            self.noted = total
            fits = (
                about["address"] == self.address
                and isinstance(version, str | None)
                and kept <= self.most_bytes
                and (total is None or kept < total)
            )
        except (OSError, ValueError, KeyError, TypeError):
            return 0, None
        if fits and (version or self.sha256):
            return kept, version
        # all that was declared has come, but the process ended before it could be checked: with a hash it still can be
        return (kept, version) if self.sha256 and kept == self.size else (0, None)

    def _opened(self, kept: int, version: str | None) -> http.client.HTTPResponse:
        """The answer of the server, redirects followed: 200, or 206 that goes on from `kept`."""
        headers = {"User-Agent": f"escriba/{__version__}", "Accept-Encoding": "identity", "Accept": "*/*"}
        if kept:
            headers |= {"Range": f"bytes={kept}-", **({"If-Range": version} if version else {})}
        address = self.address
        for _ in range(MOST_REDIRECTS + 1):
            try:
                request = urllib.request.Request(address, headers=headers)  # noqa: S310 - checked_address
                response: http.client.HTTPResponse = self.opener.open(request, timeout=self.stall_s)
            except urllib.error.HTTPError as error:
                with error:
                    if error.code not in REDIRECTS or not error.headers.get("Location"):
                        raise self._refused(error, kept) from None
                    address = led_on(self.address, address, error.headers["Location"])
                continue
            except urllib.error.URLError as error:
                raise self._unreached(error.reason, address) from None
            except (OSError, http.client.HTTPException) as error:
                raise self._unreached(error, address) from None
            try:
                self._accept(response, kept, version)
            except BaseException:
                response.close()
                raise
            return response
        raise TextError(
            tr(
                "{address} leads from address to address, more than {times} times",
                address=self.address,
                times=MOST_REDIRECTS,
            ),
            hint=tr(BY_HAND),
        )

    def _refused(self, error: urllib.error.HTTPError, kept: int) -> Exception:
        """The error for an answer that is no file."""
        if error.code == 416 and kept:  # there is no such range: the file is another now
            self.drop()
            return _Cut(tr("the server's file is another than the one that was begun"))
        said = tr("the server answers {status}", status=f"{error.code} {http.client.responses.get(error.code, '')}".rstrip())
        if error.code in PASSING:
            return _Cut(said)
        return TextError(
            tr("{address} could not be fetched: {reason}", address=self.address, reason=said), hint=tr(HINTS.get(error.code, BY_HAND))
        )

    def _unreached(self, reason: Any, address: str) -> Exception:
        """The error for no answer at all, or no more of it, from an address that a redirect may have led to."""
        if isinstance(reason, ssl.SSLCertVerificationError):
            return TextError(
                tr(
                    "{address} could not be fetched: the certificate of the server is not trusted ({reason})",
                    address=self.address,
                    reason=reason.verify_message,
                ),
                hint=tr("is the date of this machine right? SSL_CERT_FILE names a file of further certificates, such as those of a proxy"),
            )
        if isinstance(reason, socket.gaierror):
            scheme, host = urlsplit(address).scheme, urlsplit(address).hostname or ""
            proxy = urllib.request.getproxies().get(scheme)
            if proxy and not urllib.request.proxy_bypass(host):  # then it is the proxy's name that was looked up, and no other
                said = tr("the proxy for {scheme}, which is set to {proxy}, was not found", scheme=scheme, proxy=shown(proxy))
                hint = tr("is {variable} right?", variable=f"{scheme}_proxy")
            else:
                said, hint = tr("{host} was not found", host=host), tr("is there a network? https_proxy names a proxy")
            return TextError(tr("{address} could not be fetched: {reason}", address=self.address, reason=said), hint=hint)
        if isinstance(reason, TimeoutError):
            return _Cut(tr("nothing came for {seconds:g} s", seconds=self.stall_s))
        if isinstance(reason, http.client.HTTPException) and not isinstance(reason, OSError):
            return _Cut(tr("the answer broke off, or is none"))  # not in its own words, which a server chose
        return _Cut(str(reason) or type(reason).__name__)

    def _accept(self, response: http.client.HTTPResponse, kept: int, version: str | None) -> None:
        """Refuses an answer that is not what was asked for."""
        packed = response.headers.get("Content-Encoding", "identity").lower()
        if packed not in ("identity", "gzip", "x-gzip"):  # gzip is unpacked when the file is read
            raise TextError(
                tr("{address} comes packed as {packed!r}, though it was asked for as it is", address=self.address, packed=packed),
                hint=tr(BY_HAND),
            )
        is_page = response.headers.get_content_type() in ("text/html", "application/xhtml+xml")
        if is_page and self.target.suffix.lower() not in WEB_PAGES:
            raise TextError(
                tr("{address} is a web page, not a text", address=self.address),
                hint=tr("give the address of the text itself: on GitHub that of Raw"),
            )
        if response.status == 206:
            start, total = _content_range(response)
            answered = _version(response)
            # a hash tells in the end whether the halves fit; without one the server must say now that the file is the same
            is_other = version != answered and (self.sha256 is None or bool(version and answered))
            is_other = is_other or (None not in (total, self.noted) and total != self.noted)
            if not kept or start != kept or is_other:
                self.drop()
                raise _Cut(tr("the server goes on from another place, or with another file, than was asked"))
        elif response.status != 200:
            raise TextError(
                tr("{address} could not be fetched: the server answers {status}", address=self.address, status=response.status),
                hint=tr(BY_HAND),
            )

    def _receive(self, response: http.client.HTTPResponse, have: int) -> None:
        """Writes what comes to the part, and holds it against what was declared."""
        length = None if response.chunked else response.length
        total = None if length is None else have + length
        if have:  # a server may give less of the rest than was asked; what counts is the whole
            total = _content_range(response)[1] or total
        if total is not None and self.size is not None and total != self.size:
            self.drop()
            raise TextError(
                tr("{address} has {total:,} bytes, says the server", address=self.address, total=total),
                expected=f"{self.size:,}",
                hint=tr(BY_HAND),
            )
        if total is not None and total > self.most_bytes:
            raise TextError(
                tr("{address} has {total:,} bytes", address=self.address, total=total),
                expected=tr("at most {most:,}", most=self.most_bytes),
                hint=tr(BY_HAND),
            )
        # where the connection ends with the file, all that comes is read, lest more than was declared go unseen
        to_the_end = total is None or response.will_close
        if to_the_end and not response.chunked:
            response.length = None
        self._begin(have, _version(response), total)
        with self._writable() as file:
            while want := CHUNK if to_the_end or total is None else min(CHUNK, total - have):
                try:
                    piece = response.read1(want)
                except (OSError, http.client.HTTPException) as error:
                    if have == total:  # all is there; the server only does not hang up
                        break
                    raise self._unreached(error, self.address) from None
                if not piece:
                    break
                have += len(piece)
                if have > min(self.most_bytes, total or self.most_bytes):
                    break
                self._write(file, piece)
                if self.progress is not None:
                    self.progress(have, total if total is not None else self.size)
        if have > self.most_bytes or (total is not None and have > total):
            self.drop()
            most = self.most_bytes if total is None else total
            raise TextError(
                tr("{address} sends more than {most:,} bytes", address=self.address, most=most),
                expected=tr("at most {most:,}", most=most),
                hint=tr(BY_HAND),
            )
        whole = total if total is not None else self.size
        if whole is not None and have < whole:
            raise _Cut(tr("it ended after {have:,} of {whole:,} bytes", have=have, whole=whole))

    def _begin(self, have: int, version: str | None, total: int | None) -> None:
        """Empties the part, unless it is gone on with, and notes beside it what is needed to go on."""
        try:
            if not have:
                self.part.open("wb").close()  # before the note, which must not speak of older bytes
                about = {"address": self.address, "version": version, "total": total}
                self.about.write_text(json.dumps(about), encoding="utf-8")
        except OSError as error:
            raise self._unwritable(error) from error

    def _writable(self) -> Any:
        try:
            return self.part.open("ab")
        except OSError as error:
            raise self._unwritable(error) from error

    def _write(self, file: Any, piece: bytes) -> None:
        """Writes a piece through, so that it is there even if the process is killed."""
        try:
            file.write(piece)
            file.flush()
        except OSError as error:
            with contextlib.suppress(OSError):  # what could not be written is tried again on closing
                file.close()
            self.drop()
            raise self._unwritable(error) from error

    def _check(self, kept: int) -> None:
        """Holds the whole file against the hash."""
        if self.sha256 is None or (found := hash_of(self.part)) == self.sha256:
            return
        self.drop()
        if kept:
            raise _Cut(tr("what had come earlier does not fit what came now"))
        raise TextError(
            tr("{address} gives another text than it should: its SHA-256 is {found}", address=self.address, found=found),
            expected=self.sha256,
            hint=tr("nothing was kept of it"),
        )

    def _unwritable(self, error: OSError) -> TextError:
        return TextError(
            tr("{file} could not be written: {reason}", file=self.target, reason=error.strerror or error),
            hint=tr("free some space, or set ESCRIBA_CACHE to a folder that can be written to"),
        )


def _version(response: http.client.HTTPResponse) -> str | None:
    """By what the server knows this version of the file again; a weak tag does not speak for the bytes."""
    tag = response.headers.get("ETag")
    version = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")
    return version if re.fullmatch(r"[ -~]{1,1000}", version) else None  # it goes back as a header


def _content_range(response: http.client.HTTPResponse) -> tuple[int | None, int | None]:
    """The place of the first byte of a partial answer, and the number of all bytes of the file, as far as they are told."""
    found = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", response.headers.get("Content-Range", "").strip())
    if found is None:
        return None, None
    return int(found[1]), None if found[2] == "*" else int(found[2])
