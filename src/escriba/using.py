"""A model in use: `Model` reads, scores and saves; how it writes stands in `writing.py`.

It does not know how a model is trained, nor what shows its results; PyTorch is loaded only for a live network, and for long texts.
What only some of its methods need is loaded when they are called: a program that writes is to begin at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from escriba.cached import cached_property
from escriba.checkpoint import Config
from escriba.engine.protocol import Engine
from escriba.errors import CheckpointError, SettingsError, TextError
from escriba.language import tr
from escriba.packing import Packs
from escriba.running import Engines
from escriba.settings import TextSettings, TrainSettings
from escriba.text.tokenizer import Tokenizer
from escriba.weights import count_parameters
from escriba.writing import Writes, as_string, distribution

if TYPE_CHECKING:
    from escriba import measuring, recalling
    from escriba.inference.lines import LineScore
    from escriba.inference.recall import Recall
    from escriba.inference.scorer import Scored
    from escriba.inference.typical import Typicality
    from escriba.model.language_model import LanguageModel
    from escriba.outputs.figures import Figure
    from escriba.results import Distribution, Run, Score
    from escriba.text.corpus import Corpus

__all__ = ["Model", "as_path"]

_MOST_AHEAD = 8192
"""Lines that are looked at before any is scored, to see whether the work is long."""


class Model(Writes, Packs):
    """A model that writes and reads.

    Args:
        net: a `LanguageModel`, trained or not, which may still learn: it runs as it is, with PyTorch; or any `Engine`; or the `Engines`
            of weights that do not change.
        tokenizer: its symbols.
        config: how it came to be, where that is known.
        folder: where it is kept, if anywhere.
    """

    def __init__(
        self, net: LanguageModel | Engine | Engines, tokenizer: Tokenizer, *, config: Config | None = None, folder: Path | None = None
    ) -> None:
        if net.vocab_size != tokenizer.vocab_size:
            raise SettingsError(
                tr("the network has {own} symbols and the tokenizer {other}", own=net.vocab_size, other=tokenizer.vocab_size),
                expected=tr("as many: tok.vocab_size"),
            )
        self.tokenizer = tokenizer
        self.folder = folder
        self.net: LanguageModel | None = None
        if isinstance(net, Engine | Engines):
            self.engines = net if isinstance(net, Engines) else Engines.of(net)
        else:
            from escriba.engine.torch import TorchEngine

            self.net, self.engines = net, Engines.of(TorchEngine(net))
            config = config or Config(TextSettings(unit=tokenizer.kind), net.settings, TrainSettings(), net.vocab_size)
        self.config = config
        self._weights: Mapping[str, Any] | None = None
        self.at: str | None = None
        self.members: tuple[Model, ...] = ()

    @cached_property
    def usual(self) -> measuring.Usual:
        """What is typical for the model, read when it is first asked for."""
        from escriba.measuring import Usual

        return Usual(self)

    @cached_property
    def learnt(self) -> recalling.Learnt:
        """What texts are held against, read when it is first asked for."""
        from escriba.recalling import Learnt

        return Learnt()

    @property
    def engine(self) -> Engine:
        """What runs the model where it is measured: in float32, unless another precision was asked for."""
        return self.engines.exact()

    def engine_for_writing(self) -> Engine:
        """What runs it where it writes: in int8 where there are native kernels, unless another precision was asked for."""
        return self.engines.writing()

    def engine_for(self, symbols: int) -> Engine:
        """The engine for reading about so many symbols: PyTorch's where NumPy's would take many seconds, else the own."""
        return self.engines.reading(symbols)

    @property
    def parameters(self) -> int | None:
        """How many numbers the model learnt, where that is known; of an n-gram that counts, how many n-grams."""
        if self.members:
            return sum(one.parameters or 0 for one in self.members)
        if self.config is not None and self.config.model.cell != "counts":
            return count_parameters(self.config.model, self.config.vocab_size)
        from escriba.engine.counts import CountsEngine

        return sum(self.engine.ngrams.sizes) if isinstance(self.engine, CountsEngine) else None

    @property
    def run(self) -> Run:
        """The history of its training; empty for a model that has no folder."""
        from escriba.history import Run

        return Run(()) if self.folder is None else Run.read(self.folder)

    @property
    def labels(self) -> Mapping[str, int] | None:
        """The labels that begin the documents it learnt, and how many began with each, as far as known; None: they had none."""
        if self.config is None or self.config.text.label_column is None:
            return None
        known = self.run.last("begun").get("corpus", {})
        labels = known.get("labels") if isinstance(known, dict) else None
        return labels if isinstance(labels, dict) else {}

    def next(self, context: str = "") -> Distribution:
        """The distribution of the symbol after a context; ``.top(5)`` gives the likeliest, ``.plot()`` draws it.

        Raises:
            TextError: the context is no string.
            UnknownSymbolError: a symbol is unseen, and the vocabulary has no ``<unk>``.
        """
        return distribution(self, context)

    def score(self, text: str, after: str = "", *, eos: bool = False, top: int = 0) -> Score:
        """How likely a text is, after a context or from nothing: log-likelihood, bits per character, every symbol's surprisal and rank.

        Args:
            text: what is scored, of any length.
            after: a context that is read first and not scored.
            eos: in a model of documents, count the ``<eos>`` after the text.
            top: tell at each place so many of the likeliest symbols, in `Score.expected`.

        Raises:
            TextError: the text is empty, or no string.
            UnknownSymbolError: a symbol is unseen, and the vocabulary has no ``<unk>``.
            SettingsError: an ``<eos>`` is asked of a model of one stream, or `top` is out of its range.
        """
        if not as_string(text, tr("the text to score")):
            raise TextError(tr("the text to score is empty"), expected=tr("one character or more"))
        from escriba.inference.scorer import Scorer
        from escriba.measuring import judged

        engine = self.engine_for(len(text) + len(as_string(after, "after")))
        score = _as_score(text, Scorer(engine, self.tokenizer).score(text, after, eos=eos, top=top))
        return score if after or eos else judged(self, score)

    def is_typical(self, text: str, at: float = 0.01) -> measuring.Typical:
        """Whether a text is like those that were held out: false if it surprises the model more than all but the share `at` of them.

        Args:
            text: the text, scored from nothing.
            at: how many typical texts may be called atypical: 0.2, 0.1, 0.05, 0.02, 0.01, 0.005 or 0.002.

        Returns:
            A verdict that is true or false, with the rate of false alarms as it was measured.

        Raises:
            TextError: the text is empty, or no string.
            CheckpointError: it was not measured what is typical (`measure_typical` does), or its file is damaged.
            SettingsError: `at` is another, or too small for the held-out texts there were.
        """
        from escriba.measuring import is_typical

        return is_typical(self, text, at)

    def evaluate(self, source: str | os.PathLike[str] | Corpus | None = None, **options: Any) -> measuring.Evaluation:
        """The mean loss on a whole text, with its standard error.

        Args:
            source: a file, folder or known text, read as the training text was; or a text that was read. None: the part held out.
            **options: text="..." instead of a source; protocol ("stream"; "window": fresh windows; "dynamic": a copy of the model goes on
                learning from what it has read, which needs PyTorch), window=256, lanes (1 is exact; None: 16 for more
                than 20,000 symbols), encoding of the file, progress, called with the symbols read and their number.

        Raises:
            TextError: the text cannot be read, is of another form than the model's, or is no longer where it was.
            SettingsError: an option is out of its range.
        """
        from escriba.measuring import evaluate

        return evaluate(self, source, **options)

    def measure_typical(self, source: str | os.PathLike[str] | Corpus | None = None, **options: Any) -> Typicality:
        """Measures how surprising held-out texts of each length are, for `is_typical`, and keeps it in the model's folder.

        Args:
            source: as in `evaluate`: a text that was not learnt; None: the part held out.
            **options: text, encoding and progress as there; seed of the draws; most_symbols to read, 300,000.

        Raises:
            TextError: the text cannot be read again, or is too short.
        """
        from escriba.measuring import learn_typical

        return learn_typical(self, source, **options)

    def score_lines(
        self,
        lines: str | os.PathLike[str] | Iterable[str],
        after: str = "",
        *,
        carry: bool = False,
        eos: bool = False,
        encoding: str = "utf-8",
    ) -> Iterator[LineScore]:
        """The score of each line of a file of any size, or of lines given one after another, as they come.

        Args:
            lines: a file, - for standard input; or the lines themselves, without their ends.
            after: a context that is read first and not scored: before each line, or, with `carry`, before the first.
            carry: carry the state from line to line as through one text, instead of beginning anew with each.
            eos: in a model of documents, count the ``<eos>`` after each line.
            encoding: of the file.

        Raises:
            TextError: the file cannot be read, or a line is no string.
            UnknownSymbolError: a symbol is unseen and the vocabulary has no ``<unk>``; it names the line.
            SettingsError: an ``<eos>`` is asked of a model of one stream.
        """
        from escriba.inference.lines import lines_in, score_lines

        if isinstance(lines, str | os.PathLike):
            from escriba.text.files import TextFile, find

            lines = chain.from_iterable(lines_in(TextFile(path, encoding).texts()) for path in find([lines]))
        if not isinstance(lines, Iterable):
            raise TextError(tr("the lines to score are {lines!r:.60}", lines=lines), expected=tr("a file, or a list of lines"))
        symbols, ahead, coming = len(as_string(after, "after")), [], iter(lines)
        for line in islice(coming, _MOST_AHEAD):  # as many as it takes to know whether the work is long
            ahead.append(line)
            symbols += 1 + (len(line) if isinstance(line, str) else 0)
            if self.engines.is_long(symbols):
                break
        return score_lines(self.engine_for(symbols), self.tokenizer, chain(ahead, coming), after, carry=carry, eos=eos)

    def rank(self, texts: Iterable[str], after: str = "") -> list[Score]:
        """The scores of texts, the likeliest first, equals in the order in which they were given.

        Raises:
            TextError: one of them is empty or no string, or there is no list of texts.
            UnknownSymbolError: a symbol is unseen, and the vocabulary has no ``<unk>``.
        """
        if isinstance(texts, str) or not isinstance(texts, Iterable):
            raise TextError(tr("the texts to rank are {texts!r:.60}", texts=texts), expected=tr("a list of texts"))
        from escriba.inference.scorer import Scorer

        given = [as_string(text, tr("a text to rank")) for text in texts]
        engine = self.engine_for(sum(map(len, given)) + len(as_string(after, "after")))
        scored = Scorer(engine, self.tokenizer).score_many(given, after)
        return sorted(map(_as_score, given, scored), key=lambda score: -score.log_likelihood)

    def permutations(self, word: str, after: str = "") -> list[Score]:
        """The scores of all distinct orders of a word's letters (of a model's words, where its symbols are words), the likeliest first.

        Args:
            word: 1 to 8 letters; blanks before and after it stay where they are and are scored with it.
            after: a context that is read first and not scored.

        Raises:
            TextError: the word has no letters, or more than 8.
            UnknownSymbolError: a symbol is unseen, and the vocabulary has no ``<unk>``.
        """
        from escriba.inference.reading import Reader
        from escriba.inference.scorer import orders_of

        normal = self.tokenizer.normalize(as_string(word, tr("the word")))
        core = normal.strip()
        orders = orders_of(Reader(self.engine, self.tokenizer).pieces(core) if self.tokenizer.kind == "word" else core)
        before, _, behind = normal.partition(core)
        return self.rank([before + order + behind for order in orders], after)

    def recall(self, text: str, against: recalling.Against = None, *, watch: Callable[[int], None] | None = None) -> Recall:
        """How much of a text stands verbatim in the text that the model learnt from; what was held out does not belong to it.

        Args:
            text: the text, written by the model or not.
            against: a path, several, or a text that was read, to hold it against; the training text itself is taken without its held-out
                part. None: the training text, read again from where it was; it is kept for the next call.
            watch: is told the characters gone through, now and then.

        Raises:
            TextError: the training text is not where it was, or has changed; then give it as `against`.
        """
        from escriba.recalling import recall

        return recall(self, as_string(text, tr("the text")), against, watch)

    def is_novel(self, text: str, against: recalling.Against = None) -> bool:
        """Whether a text is new: no document that the model learnt from; of a stream, none of its lines stands there as a whole line.

        A blank text is not new, a blank line does not count, nor do the lines before that in which the prompt of a `Text` ends. A model
        of documents knows their hashes (`TextSettings.fingerprint`), and needs no text.

        Args:
            text: the text.
            against: as in `recall`.

        Raises:
            TextError: as in `recall`.
            CheckpointError: the file of the hashes is damaged.
        """
        from escriba.recalling import is_novel

        return all(is_novel(one, as_string(text, tr("the text")), against) for one in self.members or (self,))

    def plot(self, kind: str, path: str | os.PathLike[str] | None = None, **options: Any) -> Figure | Path:
        """A picture of the model.

        Args:
            kind: "curve", "architecture", "embedding", "surprisal" or "next".
            path: a .png, .svg or .pdf to write besides; for "surprisal" also an .html, of which the path is returned; None: none.
            **options: of "curve" `baselines`, other results in bits a character by name; of "embedding" `n`, the most frequent symbols
                shown; of "surprisal" `text` and `after`; of "next" `context` and `n`, the likeliest symbols shown.

        Raises:
            SettingsError: there is no such kind or option, no record, no embedding, or the path ends otherwise.
            MissingExtraError: matplotlib is not installed.
        """
        from escriba.pictures import draw

        return draw(self, kind, path, **options)

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Writes a model folder, with the history and the samples of its training unless the weights are other ones than its folder's.

        What only going on with the training needs, and kept moments, stay behind; of a model that is overwritten nothing stays.

        Raises:
            CheckpointError: the folder is there already, or cannot be written to.
        """
        from escriba.saving import save

        return save(self, as_path(folder, tr("the folder to save in")), overwrite=overwrite)

    def _repr_html_(self) -> str:
        """The model in a notebook: network, text, training."""
        from escriba.pictures import summary

        return summary(self)

    def __repr__(self) -> str:
        network, model = "", None if self.config is None else self.config.model
        if self.members:
            network = f"{len(self.members)} together, {self.parameters:,} parameters, "
        elif model is not None and model.cell == "counts":
            network = f"counts of order {model.order}, {self.parameters:,} n-grams, "
        elif model is not None:
            network = f"{model.cell} {model.hidden_size}, {self.parameters:,} parameters, "
        return f"<Model: {network}{self.tokenizer.vocab_size:,} symbols{f', {self.folder}' if self.folder else ''}>"


def as_path(value: object, what: str) -> Path:
    """A path.

    Raises:
        CheckpointError: it is something else.
    """
    if not isinstance(value, str | os.PathLike):
        raise CheckpointError(
            tr("{what} is {value!r:.60}, of type {kind}", what=what, value=value, kind=type(value).__name__),
            expected=tr("a path, or a name under models/"),
        )
    return Path(os.fspath(value))


def _as_score(text: str, scored: Scored) -> Score:
    from escriba.results import Score

    return Score(
        text,
        scored.log_likelihood,
        scored.symbols,
        scored.bits_per_char,
        scored.bits_per_byte,
        scored.perplexity,
        scored.unknown,
        scored.convention,
        tuple(scored.surprisals.tolist()),
        pieces=scored.pieces,
        ranks=tuple(scored.ranks.tolist()),
        expected=scored.expected,
    )
