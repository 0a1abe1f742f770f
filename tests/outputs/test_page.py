"""Pages of HTML: whole, escaped, and needing nothing from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from escriba.outputs.page import Place, bordered, distribution_rows, fragment, surprisal_page, table

NASTY = "<script>alert('x')</script> &amp; \"quotes\"\n\t\x07\ud800水\u0301"
EMPTY = {"meta", "br", "img", "link", "hr", "input"}


class Reader(HTMLParser):
    """Reads a page: its text, its attributes, and whether every element is closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """The last that was opened is closed."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """What is shown."""
        if "style" not in self.open:
            self.text += data


def read(html: str) -> Reader:
    """A page that is seen to be whole and to fetch nothing."""
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    assert not {"script", "link", "img", "iframe", "object"} & set(reader.tags)
    assert not [name for name, _ in reader.attributes if name in {"src", "href"} or name.startswith("on")]
    assert not re.search(r"url\(|@import|https?:", html)
    html.encode("utf-8")  # half a surrogate pair would be refused
    return reader


def places() -> list[Place]:
    """A text full of what could break out of a page."""
    return [Place(one, 2.5 * at, 0.5, at + 1, ((one, 0.25), ("<b>", 0.125))) for at, one in enumerate(NASTY)]


def test_the_page_holds_the_text_and_what_was_expected() -> None:
    """Escaped, every symbol in order, with its bits, rank and the three likeliest where the pointer is; the totals; no script."""
    reader = read(surprisal_page(places(), [("convention", "nats; <eos> & all")], title="A <title>"))
    assert "<script>alert('x')</script> &amp; \"quotes\"↵\n\tU+0007U+D800水" in reader.text
    assert "nats; <eos> & all" in reader.text
    assert "A <title>" in reader.text
    told = [value for name, value in reader.attributes if name == "data-t"]
    assert len(told) == len(NASTY)
    assert told[0] == "<  0.00 bits, probability 50.00%, rank 1\nexpected:\n  <  25.00%\n  <b>  12.50%"
    assert [value for name, value in reader.attributes if name == "lang"] == ["en", ""], "the page's own words, and a text's, not known"


def test_the_page_is_coloured_by_the_bits() -> None:
    """More bits, a stronger class; each class that is used has its rule."""
    html = surprisal_page([Place("a", bits, 0.1) for bits in (0.0, 3.0, 6.0, 12.0, 99.0)], [], title="t")
    used = re.findall(r'class="b(\d+)" data-t', html)
    assert used == ["0", "6", "12", "24", "24"]
    assert all(f".b{step} {{" in html for step in used if step != "0")


def test_a_long_text_is_cut_on_a_page_and_that_is_said() -> None:
    """So that a browser can open it; each symbol that is shown can be reached by the keyboard and by a finger."""
    reader = read(surprisal_page([Place("x", 1.0, 0.5)] * 50, [], title="t", most=20))
    assert [value for name, value in reader.attributes if name == "tabindex"] == ["0"] * 20
    assert "first 20 of 50 symbols" in reader.text
    assert "first" not in read(surprisal_page([Place("x", 1.0, 0.5)] * 50, [], title="t", most=50)).text


@pytest.mark.parametrize(
    "html",
    [
        fragment(places(), [("a<b", "c&d")]),
        distribution_rows([(NASTY, 0.5), ("\n", 0.0)], title=NASTY),
        bordered(NASTY, NASTY, below=NASTY),
        table([(NASTY, NASTY)], title=NASTY),
    ],
    ids=["score", "distribution", "text", "table"],
)
def test_parts_of_a_notebook_are_whole_and_escaped(html: str) -> None:
    """Nothing of a text becomes an element."""
    reader = read(html)
    assert set(reader.tags) <= {"div", "span", "b"}
    assert "script" not in reader.tags


def test_a_written_text_is_in_a_box_with_its_prompt_bold() -> None:
    """As the lessons show it: a border, the prompt marked, the continuation after it, the lines kept."""
    html = bordered("Once ", "upon\na time", below="seed 1")
    assert "border:1px solid" in html
    assert "<b>Once </b>upon\na time" in html
    assert read(html).text == "Once upon\na timeseed 1"
    assert "<b>" not in bordered("", "text")


def test_a_long_text_is_cut_in_a_notebook_and_that_is_said() -> None:
    """So that a notebook stays a file that can be opened."""
    reader = read(fragment([Place("x", 1.0, 0.5)] * 50, [], most=20))
    assert reader.text.count("x") == 20
    assert "the first 20 of 50 symbols" in reader.text
