"""A training in a notebook: the block in itself, and in a real kernel that nbclient drives."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

import escriba
from escriba.outputs import notebook
from escriba.outputs.notebook import NotebookDisplay, in_notebook
from escriba.outputs.progress import ProgressDisplay, display_for
from escriba.results import Begun, Closed, Sampled
from escriba.training.events import EpochEnded, Evaluated, Joined, Progress, SteppedBack

BEGUN = Begun(
    folder="models/<fox>",
    source="12,000 characters, one stream, from fox.txt",
    lines=(("symbols", "38, characters; the rarest: '<' 1"),),
    notes=("the text is short",),
    network="embedding 6, gru 8, 38 symbols",
    parameters=954,
    vocab_size=38,
    examples="streams, 8 x 20, 60 steps an epoch",
    precision="float32",
    device="cpu",
    threads=1,
    symbols_per_s=123_456.0,
    estimated_s=100.0,
    megabytes=0.0038,
    characters_per_symbol=1.0,
    restored=None,
)
CLOSED = Closed("models/<fox>", "length", "best", 40, 0.5, 6400, 12.0, 2.0, 1.5, 2.164, 4.48, 1199, {"steps": 40})


def step(number: int, loss: float = 2.0, done: float = 0.25) -> Progress:
    """A step."""
    return Progress(number, number / 60, 10.0, done, loss, 1e-3, 1.0, 160 * number)


def evaluated(number: int, loss: float = 1.5) -> Evaluated:
    """A measurement of the choosing part."""
    return Evaluated(number, number / 60, 10.0, 0.25, loss, 100, True)


class Page:
    """Stands for a notebook's page: what was displayed, and what it was changed into."""

    def __init__(self) -> None:
        self.displayed: list[dict[str, str]] = []
        self.updates: list[dict[str, str]] = []

    def display(self, block: dict[str, str], *, raw: bool, display_id: bool) -> Page:
        """As `IPython.display.display`."""
        assert raw
        assert display_id
        self.displayed.append(block)
        return self

    def update(self, block: dict[str, str], *, raw: bool) -> None:
        """As the handle's `update`."""
        assert raw
        self.updates.append(block)


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Page:
    """A page, and time that goes on by a second whenever it is asked for."""
    pytest.importorskip("IPython", reason="IPython is not installed")
    found, clock = Page(), iter(range(1_000_000))
    monkeypatch.setattr("IPython.display.display", found.display)
    monkeypatch.setattr(notebook.time, "monotonic", lambda: float(next(clock)))
    return found


def block_of(*events: Any, **options: Any) -> NotebookDisplay:
    """A display that took events in, without drawing them."""
    display = NotebookDisplay(**options)
    for event in events:
        display._take[type(event).__name__](event)
    return display


def elements(html: str) -> ET.Element:
    """The block as a tree, which it is only if every mark is closed and every text is escaped."""
    return ET.fromstring(html)


# Where it is used.


def test_no_notebook_is_seen_where_there_is_none() -> None:
    """In a plain Python a training is drawn as bar or lines, and IPython is not even imported for it."""
    assert not in_notebook()
    display = display_for()
    assert isinstance(display, ProgressDisplay)
    assert display.in_python


@pytest.mark.parametrize(
    ("shells", "kernel", "seen"),
    [
        (("ZMQInteractiveShell",), "IPythonKernel", True),
        (("Shell", "ZMQInteractiveShell"), "Kernel", True),  # Colab
        (("TerminalInteractiveShell",), "NoneType", False),
        (("SpyderShell", "ZMQInteractiveShell"), "SpyderKernel", False),
        (("ZMQInteractiveShell",), "SpyderKernel", False),  # an older Spyder
        ((), "NoneType", False),
    ],
)
def test_a_notebook_is_known_by_its_shell(shells: tuple[str, ...], kernel: str, seen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jupyter's shell, or one derived from it as Colab's is; not IPython in a terminal, and not Spyder, which shows no HTML."""
    kind: type = object
    for name in reversed(shells):
        kind = type(name, (kind,), {})
    shell: Any = kind() if shells else None
    if shells:
        shell.kernel = type(kernel, (), {})()

    class Running:
        """Stands for the module IPython."""

        get_ipython = staticmethod(lambda: shell)

    monkeypatch.setitem(sys.modules, "IPython", Running)
    assert in_notebook() is seen
    assert isinstance(display_for(), NotebookDisplay) is seen


# One block.


def test_one_block_that_is_updated(page: Page) -> None:
    """Displayed once and then changed in place, to the closing figures; another training has a block of its own."""
    display = NotebookDisplay()
    for event in (BEGUN, evaluated(0), step(1), step(2), Sampled(2, 0.5, "The cat"), CLOSED):
        display(event)
    display.close()
    assert (len(page.displayed), len(page.updates)) == (1, 5)
    assert "954 parameters" in page.displayed[0]["text/html"]
    assert "held out" in page.updates[-1]["text/html"]
    NotebookDisplay()(BEGUN)
    assert len(page.displayed) == 2


def test_updates_are_few_and_the_last_is_never_left_out(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most four a second; whatever was held back stands in the last one, if the training breaks off too."""
    now = [0.0]
    monkeypatch.setattr(notebook.time, "monotonic", lambda: now[0])
    display = NotebookDisplay()
    display(BEGUN)
    for number in range(1, 101):
        now[0] += 0.0625
        display(step(number))
    assert len(page.updates) == 25
    display(step(101))
    display(Sampled(101, 0.5, "The last"))
    assert len(page.updates) == 25
    display.close()
    assert len(page.updates) == 26
    assert "The last" in page.updates[-1]["text/html"]
    assert "broke off: step 101" in page.updates[-1]["text/plain"]


def test_the_end_is_drawn_at_once_and_once(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """The closing figures wait for nothing, and closing the display adds nothing to them."""
    monkeypatch.setattr(notebook.time, "monotonic", lambda: 5.0)
    display = NotebookDisplay()
    for event in (BEGUN, step(1), CLOSED):
        display(event)
    assert len(page.updates) == 1
    display.close()
    assert len(page.updates) == 1
    assert "ended" in page.updates[0]["text/plain"]
    assert "progressbar" not in page.updates[0]["text/html"]


def test_a_page_that_fails_does_not_harm_the_training(
    page: Page, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the block cannot be drawn the training is told in lines instead, from its beginning, or not at all."""
    display = NotebookDisplay(instead=ProgressDisplay(in_python=True))
    silent = NotebookDisplay()
    for event in (BEGUN, step(1)):
        display(event)
        silent(event)

    def fail(*things: Any, **more: Any) -> None:
        raise OSError("the connection is gone")

    monkeypatch.setattr(page, "update", fail)
    for event in (evaluated(2), CLOSED):
        display(event)
        silent(event)
    display.close()
    silent.close()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == [
        "text",
        "symbols",
        "note",
        "network",
        "examples",
        "time",
        "model",
        "step",
        "ended",
        "again",
        "held",
        "model",
    ]


def test_a_front_end_that_shows_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """IPython gives no handle where nothing can be shown: the training is told in lines."""
    pytest.importorskip("IPython", reason="IPython is not installed")
    monkeypatch.setattr("IPython.display.display", lambda *things, **more: None)
    display = NotebookDisplay(instead=ProgressDisplay())
    display(BEGUN)
    display(CLOSED)
    assert len(re.findall(r"^text ", capsys.readouterr().err, re.MULTILINE)) == 1


def test_ctrl_c_is_not_swallowed(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """A display that fails is left out, but a person who stops is obeyed."""

    def stop(*things: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    display = NotebookDisplay()
    display(BEGUN)
    monkeypatch.setattr(page, "update", stop)
    with pytest.raises(KeyboardInterrupt):
        display(step(1))


def test_what_is_not_drawn(page: Page) -> None:
    """Events that mean nothing to people draw nothing, and samples only if they are wanted."""
    display = NotebookDisplay(samples=False)
    display(object())
    display.close()
    assert page.displayed == []
    assert "The cat" not in block_of(BEGUN, Sampled(1, 0.5, "The cat"), samples=False).html()


# What stands in it.


def test_the_block_as_text() -> None:
    """For consoles, and for what keeps no HTML: the same as lines."""
    events = [BEGUN, step(15, 2.5), evaluated(15, 2.0 * math.log(2)), Sampled(15, 0.5, "The\n cat")]
    assert block_of(*events).plain().splitlines() == [
        "text      12,000 characters, one stream, from fox.txt",
        "symbols   38, characters; the rarest: '<' 1",
        "note      the text is short",
        "network   embedding 6, gru 8, 38 symbols: 954 parameters, 0.0 MB",
        "examples  streams, 8 x 20, 60 steps an epoch",
        "time      about 1:40 min at 123,456 symbols a second (float32, 1 thread)",
        "model     models/<fox>   (the stop button stops and keeps it)",
        " 25%  step 15  epoch 0.25  loss 2.500  30 s left",
        "step 15: choosing part 1.386 nats, 2.000 bits per character, perplexity 4.00  best so far",
        "-- it writes, after 15 steps, at temperature 0.5 --",
        "The",
        " cat",
    ]
    assert block_of(*events, CLOSED).plain().splitlines()[-4:] == [
        "ended     as long as asked: 40 steps, 0.50 epochs, 12 s",
        "again     as much training on any machine: steps=40",
        "held out  1.5000 nats, 2.1640 bits per character, perplexity 4.48 over 1,199 symbols never learnt from (best weights)",
        "model     models/<fox>",
    ]


def test_how_a_stopped_training_goes_on() -> None:
    """It says where it is kept and what goes on; one in memory alone, how it can be kept."""
    stopped = dataclasses.replace(CLOSED, reason="interrupted", loss_nats=None, held_out_symbols=0)
    assert block_of(BEGUN, stopped).plain().splitlines()[-3:] == [
        "ended     interrupted: 40 steps, 0.50 epochs, 12 s",
        "kept in   models/<fox>",
        "go on     escriba.train(THE SAME TEXT, out='models/<fox>', resume=True)",
    ]
    last = block_of(BEGUN, dataclasses.replace(stopped, folder=None)).plain().splitlines()[-1]
    assert last == 'kept      in memory alone: model.save("models/NAME") keeps it in a folder'


def test_all_text_is_escaped() -> None:
    """A text, a name or a sample that looks like HTML is shown as it is, and is no HTML; line breaks and blanks are kept."""
    sample = '<script>alert(1)</script> & "quotes"\n  <b>two</b>'
    found = elements(block_of(BEGUN, step(1), Sampled(1, 0.5, sample), CLOSED).html())
    assert {element.tag.rpartition("}")[2] for element in found.iter()} == {"div", "svg", "path", "text", "circle"}
    (shown,) = [element for element in found.iter() if element.text == sample]
    assert "white-space:pre-wrap" in shown.get("style", "")
    assert "models/<fox>" in [element.text for element in found.iter()]


def test_control_characters_are_shown_as_pictures() -> None:
    """What would clear a console or ring its bell is shown, not done."""
    block = block_of(BEGUN, Sampled(1, 0.5, "a\x1b[2J\x07\x00\t\x9bb"))
    assert "a␛[2J␇␀\t�b" in block.plain()
    assert "a␛[2J␇␀\t�b" in "".join(elements(block.html()).itertext())


def test_the_block_needs_nothing_from_elsewhere() -> None:
    """No script, no style sheet, no address but the name of SVG itself."""
    html = block_of(BEGUN, step(1), step(2), evaluated(2), Sampled(2, 0.5, "x"), CLOSED).html()
    assert re.findall(r"https?://[^\"]*", html) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"<(script|link|style|img|iframe)|\bon\w+=|url\(", html)


def test_only_the_latest_samples_are_shown() -> None:
    """Those of the same step stand together; the next ones take their place."""
    display = block_of(BEGUN, Sampled(1, 0.3, "early"), Sampled(2, 0.3, "cool"), Sampled(2, 0.8, "warm"))
    assert [text in display.html() for text in ("early", "cool", "warm")] == [False, True, True]


def test_the_bar() -> None:
    """It is as long as what is done, and never longer than all of it."""
    for done, width in ((0.0, "0.0%"), (0.25, "25.0%"), (1.02, "100.0%")):
        assert f"width:{width};" in block_of(BEGUN, step(1, done=done)).html()
    assert 'aria-valuenow="25"' in block_of(BEGUN, step(1)).html()


def test_that_the_choosing_part_is_learnt_too() -> None:
    """It is said from when on, in the place of the measurement before it."""
    shown = block_of(BEGUN, step(1), evaluated(1, 2.0), Joined(1234, 1.0, 1.0, 0.7)).plain()
    assert "step 1,234: from here on the choosing part is learnt too" in shown
    assert "choosing part 2.000" not in shown


def test_a_loss_that_is_no_number() -> None:
    """It is left out of the curve and of the loss that is shown, and what was done about it is a warning."""
    display = block_of(BEGUN, step(1, math.nan), step(2, 2.0), step(3, math.nan), step(4, math.inf), step(5, 2.0), evaluated(5, math.nan))
    display._stepped_back(SteppedBack(1234, 1.0, 1.0, 0.1, math.nan, 0.0024, 1))
    assert [point for point in display._learnt.points if point[1] != 2.0] == []
    assert display._unlearnt.points == []
    assert "step 5  epoch 0.08  loss 2.000" in display.plain()
    assert not re.search(r'="[^"]*(nan|inf)', display.html().replace("infinite", ""))
    warning = "step 1,234: the loss was nan; back to the last good weights, rate now 0.0024"
    assert f"warning   {warning}" in display.plain().splitlines()
    assert f"warning: {warning}" in display.html()
    assert "loss" not in block_of(BEGUN, step(1, math.nan)).plain().splitlines()[-1]


def test_epochs() -> None:
    """The end of an epoch stands below the curve."""
    assert (
        "epoch 1 over: mean loss 2.5000, of its last ten steps 2.2500"
        in block_of(BEGUN, EpochEnded(60, 1.0, 1.0, 0.1, 1, 2.5, 2.25)).html()
    )


# In a real kernel.


@pytest.fixture
def place(tmp_path: Path, story: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a text and a kernel of this very Python; Jupyter and IPython read and write nothing outside it."""
    for module in ("nbclient", "nbformat", "ipykernel"):
        pytest.importorskip(module, reason=f"{module} is not installed")
    pytest.importorskip("torch", reason="PyTorch is not installed")
    spec = tmp_path / "jupyter" / "kernels" / "escriba-test"
    spec.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    source = str(Path(escriba.__file__).resolve().parents[1])
    described = {"argv": command, "display_name": "test", "language": "python", "env": {"PYTHONPATH": source, "OMP_NUM_THREADS": "1"}}
    (spec / "kernel.json").write_text(json.dumps(described), encoding="utf-8")
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "USERPROFILE", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "fox.txt").write_text(story, encoding="utf-8")
    return folder


def execute(place: Path, *cells: str, stop_after: int | None = None) -> tuple[list[list[Any]], list[dict[str, Any]]]:
    """Runs the cells of a notebook in a kernel of their own.

    Args:
        place: the folder it runs in.
        *cells: their code.
        stop_after: so many updates of a block that shows a step, after which the stop button is pressed.

    Returns:
        The outputs of each cell, as the notebook would keep them, and the messages about blocks, as they came.
    """
    import nbformat
    from nbclient import NotebookClient

    messages: list[dict[str, Any]] = []
    pressed: list[asyncio.Future[Any]] = []

    class Client(NotebookClient):
        """A client that notes the blocks and can press the stop button."""

        def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
            """As before, and noted."""
            if msg["msg_type"] in {"display_data", "update_display_data"}:
                messages.append(msg)
                steps = [one for one in messages if "  step " in one["content"]["data"]["text/plain"]]
                if stop_after is not None and len(steps) >= stop_after and not pressed:
                    pressed.append(asyncio.ensure_future(self.km.interrupt_kernel()))
            return super().process_message(msg, cell, cell_index)

    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = Client(book, kernel_name="escriba-test", timeout=300, resources={"metadata": {"path": str(place)}})
    client.execute()  # shuts the kernel down, whatever happens
    assert (stop_after is None) == (pressed == [])
    return [cell.outputs for cell in book.cells], messages


SMALL = 'hidden_size=8, batch_size=8, seq_len=20, threads=1, sample_length=20, precision="float32"'


@pytest.mark.slow
def test_training_in_a_real_notebook(place: Path) -> None:
    """A training is one block, displayed once and updated in place, with curve and sample; a second one has its own; nothing else comes."""
    outputs, messages = execute(
        place,
        f'import escriba\nmodel = escriba.train("fox.txt", steps=60, {SMALL})',
        f'other = escriba.train("fox.txt", out="models/other", steps=5, {SMALL})',
        f'quiet = escriba.train("fox.txt", out="models/quiet", steps=2, quiet=True, {SMALL})\nprint(len(model.generate("The ", 20)))',
    )
    assert [[one.output_type for one in cell] for cell in outputs] == [["display_data"], ["display_data"], ["stream"]]
    assert outputs[2][0].text == "24\n"
    kinds = {}
    for one in messages:
        kinds.setdefault(one["content"]["transient"]["display_id"], []).append(one["msg_type"])
    assert len(kinds) == 2
    for found in kinds.values():
        assert found[0] == "display_data"
        assert set(found[1:]) == {"update_display_data"}
    block = outputs[0][0].data
    tree = elements(block["text/html"])
    curves = [one for one in tree.iter("{http://www.w3.org/2000/svg}path") if one.get("stroke-linejoin")]
    assert len(curves) == 2, "the curves of what is learnt and of the choosing part"
    assert "it writes, after 60 steps" in block["text/html"]
    assert "ended" in block["text/plain"]
    assert str(Path("models") / "fox") in block["text/plain"]


@pytest.mark.slow
def test_the_stop_button(place: Path) -> None:
    """It ends the training after the step: the cell ends without an error, the block says how to go on, and the model writes."""
    outputs, _ = execute(
        place,
        f'import escriba\nmodel = escriba.train("fox.txt", steps=1_000_000, {SMALL})',
        'print(model.run.finished, model.generate("The ", 20, seed=1))',
        'same = escriba.load("models/fox")\nprint(same.run.finished, same.generate("The ", 20, seed=1))',
        "import signal\nprint(signal.getsignal(signal.SIGINT) is signal.default_int_handler)",
        stop_after=2,
    )
    assert [[one.output_type for one in cell] for cell in outputs] == [["display_data"], ["stream"], ["stream"], ["stream"]]
    closing = outputs[0][0].data["text/plain"].splitlines()
    folder = str(Path("models") / "fox")
    assert closing[-2:] == [f"kept in   {folder}", f"go on     escriba.train(THE SAME TEXT, out={folder!r}, resume=True)"]
    assert closing[-3].startswith("ended     interrupted: ")
    assert "resume=True" in outputs[0][0].data["text/html"]
    assert re.fullmatch(r"False The [^\0]{20}\n", outputs[1][0].text)
    assert outputs[2][0].text == outputs[1][0].text, "what was kept is what was returned"
    assert outputs[3][0].text == "True\n"


@pytest.mark.slow
def test_results_show_themselves_in_a_real_notebook(place: Path) -> None:
    """A text comes in its box, a score in colour, a distribution as bars, a model as its facts, a picture as a picture; all well formed."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    outputs, _ = execute(
        place,
        f'import escriba\nmodel = escriba.train("fox.txt", steps=5, quiet=True, {SMALL})',
        'model.generate("The <b>&\\n", 20, seed=1)',
        'model.score("the <script> & cat", top=3)',
        'model.next("The ")',
        "model",
        'model.next("The ").plot()',
        'model.plot("curve")',
    )
    shown = [cell[-1].data for cell in outputs[1:]]
    assert [one["text/html"].count("border:1px solid") for one in shown[:4]] == [1, 0, 0, 0]
    for one in shown[:4]:
        elements(one["text/html"])
    assert "<b>The &lt;b&gt;&amp;\n</b>" in shown[0]["text/html"]
    assert 'title="' in shown[1]["text/html"]
    assert "What comes after The" in shown[2]["text/html"]
    assert "Escriba model" in shown[3]["text/html"]
    for one in shown[4:]:
        assert one["image/png"]
        assert "text/html" not in one
