"""Addresses of texts: as they go over the wire, and where a server may lead on to.

It knows nothing of fetching.
"""

from __future__ import annotations

import contextlib
import re
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from escriba.errors import TextError
from escriba.language import later, tr

__all__ = ["BY_HAND", "checked_address", "led_on", "shown"]

BY_HAND = later("download it with a browser, and give the file instead")


def checked_address(address: str) -> str:
    """An address as it goes over the wire, in ASCII.

    Raises:
        TextError: it is not one of http or https, or holds a password, which is not shown.
    """
    like = tr("one such as https://example.org/book.txt")
    try:
        parts = urlsplit(address)
        has_user = "@" in parts.netloc
        # not the port of one with a user: what is said of a wrong port may be the password
        host, port = ("", None) if has_user else ((parts.hostname or "").encode("idna").decode("ascii"), parts.port)
    except ValueError as error:  # a port that is no number; a host that cannot be one
        reason = tr("it cannot be taken apart") if "@" in address else error
        raise TextError(tr("{address!r} is not an address: {reason}", address=shown(address), reason=reason), expected=like) from None
    if has_user:
        raise TextError(
            tr("the address {address} holds a user's name or password", address=shown(address)),
            expected=tr("an address without"),
            hint=tr(BY_HAND),
        )
    if parts.scheme not in ("http", "https") or not host:
        raise TextError(
            tr("{address!r} is not an address of a text", address=shown(address)), expected=tr("one that begins with https:// or http://")
        )
    if not re.fullmatch(r"[A-Za-z0-9.:_\[\]-]+", host):
        raise TextError(
            tr("{address!r} is not an address: its host has characters that no host has", address=shown(address)), expected=like
        )
    host = f"[{host}]" if ":" in host else host
    path, query = (quote(part, safe="/%:@!$&'()*+,;=~?") for part in (parts.path or "/", parts.query))
    return urlunsplit((parts.scheme, host if port is None else f"{host}:{port}", path, query, ""))


def shown(address: str) -> str:
    """An address as it may be printed: where it may hold a user's name or a password, its scheme and its host alone."""
    if "@" not in address:
        return address
    scheme = re.match(r"([a-z][a-z0-9+.-]*:)?//", address, re.IGNORECASE)
    host = re.match(r"[A-Za-z0-9.:_\[\]-]*", address.rpartition("@")[2])
    return (scheme[0] if scheme else "") + (host[0] if host else "")


def led_on(first: str, address: str, location: str) -> str:
    """Where a redirect leads: to http or https, and never from https down to http.

    Args:
        first: the address that was asked for, for what is said.
        address: the one that leads on.
        location: where to, as the server's header says it.

    Raises:
        TextError: it leads elsewhere.
    """
    with contextlib.suppress(UnicodeError):  # headers are read as Latin-1, and addresses in them are often UTF-8
        location = location.encode("latin-1").decode("utf-8")
    try:
        found = checked_address(urljoin(address, location))
    except ValueError:  # a TextError is one
        raise TextError(
            tr("{address} leads to {location!r}, where Escriba does not follow", address=first, location=shown(location)[:200]),
            hint=tr(BY_HAND),
        ) from None
    if address.startswith("https:") and not found.startswith("https:"):
        raise TextError(
            tr("{address} leads from https down to {location}, which anybody on the way could change", address=first, location=found),
            hint=tr(BY_HAND),
        )
    return found
