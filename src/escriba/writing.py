"""How a model writes: texts whole, in pieces, the likeliest of a beam, and one that a person goes on with.

It does not know how a model is trained or kept, nor how it reads; `Model` in `using.py` takes these methods over.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from escriba.engine.protocol import Engine
from escriba.engine.sampling import log_softmax
from escriba.errors import EscribaError, SettingsError, TextError, near_name
from escriba.inference import writer
from escriba.inference.reading import Reader
from escriba.language import tr
from escriba.settings import SampleSettings
from escriba.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from escriba.inference.generator import Generated
    from escriba.results import Distribution, Text

__all__ = ["Writer", "Writes", "as_string", "distribution", "warn_once"]


class Writer(writer.Writer):
    """A text that goes on, whose distributions show and plot themselves."""

    def next(self) -> Distribution:
        """How likely each symbol is to come next, under the model itself: before bans, temperature and filters."""
        from escriba.results import Distribution

        found = super().next()
        return Distribution(found.log_probs, found.symbols, context=self.text)


class Writes:
    """What writes with an engine and a tokenizer."""

    tokenizer: Tokenizer

    @property
    def engine(self) -> Engine:
        """What runs the model, exactly."""
        raise NotImplementedError

    def engine_for_writing(self) -> Engine:
        """What runs the model where it writes."""
        raise NotImplementedError

    @property
    def labels(self) -> Mapping[str, int] | None:
        """The labels that begin the documents it learnt, and how many began with each, as far as known; None: they had none."""
        return None

    @overload
    def generate(self, prompt: str = ..., length: int | None = ..., *, samples: None = ..., **options: Any) -> Text: ...
    @overload
    def generate(
        self, prompt: str | Sequence[str] = ..., length: int | None = ..., *, samples: int | None = ..., **options: Any
    ) -> list[Text]: ...

    def generate(
        self,
        prompt: str | Sequence[str] = "",
        length: int | None = 500,
        *,
        samples: int | None = None,
        label: str | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] = (),
        begins: str = "",
        unique: bool = False,
        min_length: int | None = None,
        max_length: int | None = None,
        keep: Callable[[Text], bool] | None = None,
        **sampling: Any,
    ) -> Text | list[Text]:
        """Writes on from a prompt, or from each of several.

        Args:
            prompt: a text, of any length, possibly empty; or a list of texts.
            length: characters to write, 0 or more; with `max_length` more than that, or None.
            samples: texts for each prompt; None: one.
            label: of a model that was trained with a column of labels: which of them the document has. The prompt comes behind it.
            seed: of the draws; None: another one each time, told in the result.
            stop: a string, or several, before which the text ends.
            begins: what every text begins with: unlike the prompt it is a part of the text, counted in its length and its likelihood.
            unique: write no text twice.
            min_length: write no text of fewer characters.
            max_length: write no text that does not end by itself, at its document's end or before a stop string, within so many.
            keep: write no text of which this function says False. A text that is not kept by one of these four is written anew,
                50 times as often as texts are asked for and 500 times at least; then a warning says that fewer were found. Where nothing
                is left to chance (temperature 0, top_k 1), once.
            **sampling: temperature (0 is greedy), top_k, top_p, min_p, temperature_cycle, no_repeat, as in `SampleSettings`.

        Returns:
            A `Text`, which is a str; for a list of prompts or a number of samples a list of them, prompt by prompt.

        Raises:
            SettingsError: a value is out of its range.
            UnknownSymbolError: the prompt has an unseen symbol, and the vocabulary has no <unk>.
            EscribaError: one text is asked for, and none could be kept.
        """
        if keep is not None and not callable(keep):
            raise SettingsError(
                tr("keep is {keep!r:.60}", keep=keep), expected=tr("a function that says True of a Text that is to be kept")
            )
        from escriba.inference.collecting import Wanted, collect
        from escriba.inference.generator import Generator

        prompt = prompt if label is None else self._behind(label, prompt)
        generator = Generator(self.engine_for_writing(), self.tokenizer)
        settings, number = SampleSettings(**sampling), 1 if samples is None else samples
        wanted = Wanted(unique, min_length, max_length, None if keep is None else lambda made: keep(_as_text(made)))
        if wanted == Wanted():
            if length is None:
                raise SettingsError(tr("length is None"), expected=tr("a number of characters"), hint=tr("Model.stream goes on for ever"))
            made = generator.generate(prompt, samples=number, length=length, settings=settings, seed=seed, stop=stop, begins=begins)
            warn_once(one.notices for one in made)
        else:
            found = collect(
                generator, prompt, wanted=wanted, samples=number, length=length, settings=settings, seed=seed, stop=stop, begins=begins
            )
            made = found.texts
            if found.notice is not None and isinstance(prompt, str) and samples is None:
                raise EscribaError(found.notice, expected=tr("a text that can be kept"), hint=tr("ask for less of it"))
            warn_once([found.notices, [found.notice] if found.notice is not None else []])
        texts = [_as_text(one) for one in made]
        return texts[0] if isinstance(prompt, str) and samples is None else texts

    def _behind(self, label: str, prompt: str | Sequence[str]) -> str | Sequence[str]:
        """A prompt, or each of several, as `labelled` gives it."""
        return self.labelled(label, prompt) if isinstance(prompt, str) else [self.labelled(label, one) for one in prompt]

    def labelled(self, label: str, prompt: str = "") -> str:
        """The prompt with which a document of a label goes on: the label, a tab, and what the text is to begin with.

        Raises:
            SettingsError: the model knows no labels, or not this one.
        """
        if self.labels is None:
            raise SettingsError(
                tr("label is {label!r}, but the documents that this model learnt have no labels", label=label),
                expected=tr("a model trained with a column of labels"),
                hint="escriba train TABLE --column TEXT --label-column LABEL",
            )
        if self.labels and label not in self.labels:
            near, known = near_name(label, self.labels), list(self.labels)
            listed = ", ".join(map(repr, known[:10]))
            raise SettingsError(
                tr("there is no label {label!r}", label=label),
                expected=tr("one of {labels} and {more:,} more", labels=listed, more=len(known) - 10)
                if len(known) > 10
                else tr("one of {labels}", labels=listed),
                hint=near and tr("did you mean {near!r}?", near=near),
            )
        from escriba.text.tables import LABEL_END

        return f"{label}{LABEL_END}{prompt}"

    def beam(
        self,
        prompt: str = "",
        length: int = 200,
        *,
        width: int = 4,
        length_penalty: float = 0.0,
        samples: int | None = None,
        stop: str | Sequence[str] = (),
        no_repeat: int | None = None,
    ) -> list[Text]:
        """The likeliest texts after a prompt that a beam search finds, the best first; nothing is drawn. See `BeamSearch`.

        Args:
            prompt: what the texts go on from; it may be empty.
            length: characters after which a text is cut, 0 or more.
            width: how many beginnings are kept, 1 (greedy) to 64.
            length_penalty: 0 orders texts by log-likelihood, 1 by its mean over their symbols; 0 to 2.
            samples: so many of the texts at most, 1 to `width`; None: all that were found.
            stop: a string, or several, before which a text ends.
            no_repeat: as in `SampleSettings`.

        Raises:
            SettingsError: a value is out of its range.
            UnknownSymbolError: the prompt has an unseen symbol, and the vocabulary has no <unk>.
        """
        from escriba.inference.beam import BeamSearch, checked_beams
        from escriba.results import Text

        checked_beams(width, length_penalty)
        if samples is not None and (isinstance(samples, bool) or not isinstance(samples, int) or not 1 <= samples <= width):
            raise SettingsError(
                tr("samples is {samples!r} and the width of the beam {width!r}", samples=samples, width=width),
                expected=tr("1 to the width of the beam"),
            )
        found = BeamSearch(self.engine_for_writing(), self.tokenizer).search(
            prompt, length=length, width=width, length_penalty=length_penalty, stop=stop, no_repeat=no_repeat
        )
        warn_once(one.notices for one in found)
        return [
            Text.of(
                one.prompt, one.text, log_likelihood=one.log_likelihood, seed=None, row=row, finish_reason=one.finish_reason,
                normalized=one.normalized,
            )
            for row, one in enumerate(found[:samples])
        ]  # fmt: skip

    def stream(
        self,
        prompt: str = "",
        length: int | None = 500,
        *,
        seed: int | None = None,
        stop: str | Sequence[str] = (),
        begins: str = "",
        **sampling: Any,
    ) -> Iterator[str]:
        """Writes the same text as `generate`, piece by piece as it comes; length None never stops by itself."""
        from escriba.inference.generator import Generator

        stream = Generator(self.engine_for_writing(), self.tokenizer).stream(
            as_string(prompt, tr("the prompt")), length=length, settings=SampleSettings(**sampling), seed=seed, stop=stop, begins=begins
        )
        warn_once([stream.notices])
        return (piece for _, piece in stream)

    def writer(self, prompt: str = "", *, seed: int | None = None, **sampling: Any) -> Writer:
        """A text that goes on step by step: `next`, `push`, `write`, `fork`."""
        engine, begun = self.engine_for_writing(), as_string(prompt, tr("the prompt"))
        return Writer(engine, self.tokenizer, begun, settings=SampleSettings(**sampling), seed=seed)


def distribution(model: Writes, context: str) -> Distribution:
    """The distribution of the symbol after a context, with its logits."""
    from escriba.results import Distribution

    reader = Reader(model.engine, model.tokenizer)
    ids, unknown = reader.encode(as_string(context, tr("the context")))
    warn_once([(reader.notice(unknown),)] if unknown else [])
    position = reader.skip(reader.begin(), ids)
    symbols = tuple(model.tokenizer.symbols)
    if position.last is None:  # the start of a stream, which the network does not know
        log_probs, _ = reader.next_log_probs(position)
        return Distribution(log_probs, symbols, context)
    logits, _ = reader.engine.step(np.array([position.last]), position.state)
    return Distribution(log_softmax(logits[0]), symbols, context, np.asarray(logits[0], dtype=np.float64))


def as_string(value: object, what: str) -> str:
    """A string.

    Raises:
        TextError: it is something else.
    """
    if not isinstance(value, str):
        raise TextError(
            tr("{what} is {value!r:.60}, of type {kind}", what=what, value=value, kind=type(value).__name__),
            expected=tr("a string"),
        )
    return value


def _as_text(made: Generated) -> Text:
    from escriba.results import Text

    return Text.of(
        made.prompt, made.text, log_likelihood=made.log_likelihood, seed=made.seed, row=made.row, finish_reason=made.finish_reason
    )


def warn_once(notices: Iterable[Sequence[str]]) -> None:
    """Says once each what the prompts held that the model does not know."""
    for notice in dict.fromkeys(one for several in notices for one in several):
        warnings.warn(notice, UserWarning, stacklevel=3)
