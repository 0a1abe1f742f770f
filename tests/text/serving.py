"""A server on localhost that behaves as badly as it is told to, for the tests of what is fetched."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """What a path answers.

    Attributes:
        body: the file.
        statuses: sent one a request, without a file, before it is served.
        cuts: of each of the first requests, after how many bytes the connection is closed.
        stalls: the same, after how many bytes nothing more comes until the server is let go.
        ranges: whether ranges are honoured.
        conditions: whether If-Range is honoured.
        declared: the Content-Length; None: the right one; "": none at all.
        chunked: sent in chunks, as HTTP/1.1 does.
        location: where it leads, instead.
        headers: further ones, such as an ETag.
        most: how many bytes are given of a range; None: all.
        content_range: what is said of a range; None: what is so.
        shift: added to where a range begins, as a server does that lies.
    """

    body: bytes = b""
    statuses: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    stalls: list[int] = field(default_factory=list)
    ranges: bool = True
    conditions: bool = True
    declared: int | str | None = None
    chunked: bool = False
    location: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    most: int | None = None
    content_range: str | None = None
    shift: int = 0


class Server(ThreadingHTTPServer):
    """Answers by path, and remembers what was asked."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tls = tls
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.answers: dict[str, Answer] = {}
        self.asked: list[dict[str, str]] = []
        self.go_on = threading.Event()

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up, or does not trust us, is no fault."""

    def address(self, path: str) -> str:
        """The address of a path."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.server_port}{path}"

    def serve(self, path: str, body: bytes = b"", **how: Any) -> str:
        """Sets what a path answers; gives its address."""
        self.answers[path] = Answer(body, **how)
        return self.address(path)

    @property
    def ranges(self) -> list[str | None]:
        """The range of each request."""
        return [one.get("Range") for one in self.asked]


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""

    def do_GET(self) -> None:
        """Answers as badly as it was told to."""
        self.server.asked.append({"path": self.path, **dict(self.headers.items())})
        answer = self.server.answers.get(self.path)
        if answer is None or answer.statuses:
            self.send_error(404 if answer is None else answer.statuses.pop(0))
            return
        if answer.location is not None:
            self.send_response(302)
            self.send_header("Location", answer.location)
            self.end_headers()
            return
        start, wanted = 0, self.headers.get("Range")
        if (
            answer.ranges
            and wanted
            and (
                not answer.conditions
                or self.headers.get("If-Range") in (None, answer.headers.get("ETag"), answer.headers.get("Last-Modified"))
            )
        ):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(answer.body):
                self.send_error(416)
                return
        begin = start + answer.shift if start else 0
        body = answer.body[begin:] if not start else answer.body[begin:][: answer.most]
        if answer.chunked:
            self.protocol_version = "HTTP/1.1"
        self.send_response(206 if start else 200)
        if start:
            told = f"bytes {begin}-{begin + len(body) - 1}/{len(answer.body)}"
            self.send_header("Content-Range", told if answer.content_range is None else answer.content_range)
        if answer.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif answer.declared != "":
            self.send_header("Content-Length", str(len(body) if answer.declared is None else answer.declared))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        cut = answer.cuts.pop(0) if answer.cuts else None
        stall = answer.stalls.pop(0) if answer.stalls else None
        sent = body[:cut] if stall is None else body[:stall]
        if answer.chunked:
            for i in range(0, len(sent), 1000):
                piece = sent[i : i + 1000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            if cut is None:
                self.wfile.write(b"0\r\n\r\n")
            self.close_connection = True
        else:
            self.wfile.write(sent)
        self.wfile.flush()
        if stall is not None:
            self.server.go_on.wait(90)


@contextlib.contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A server while the block runs."""
    server = Server(tls)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()
