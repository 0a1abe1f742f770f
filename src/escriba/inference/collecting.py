"""Writes until as many texts are there as were asked for that are of a length, unlike each other, or pass a test of the caller's own.

It does not know what that test is, nor what is done with the texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from escriba.errors import SettingsError
from escriba.inference.drawing import is_certain
from escriba.inference.ending import checked_begins, checked_length, checked_room
from escriba.inference.generator import Generated, Generator, Start
from escriba.inference.reading import as_texts, fresh_seed, uniform_stream
from escriba.language import later, tr
from escriba.settings import SampleSettings

__all__ = ["Collected", "Wanted", "collect"]

_TRIES = 50
"""Texts written at most for each that is asked for."""

_LEAST_TRIES = 500
"""Texts that may be written for a prompt however few are asked for."""

_MOST_AT_ONCE = 256
"""Texts written for a prompt before it is looked at how many of them can be kept."""

_REFUSED = {
    "too short": later("{count:,} too short"),
    "too long": later("{count:,} too long"),
    "there already": later("{count:,} there already"),
    "not wanted": later("{count:,} not wanted"),
}
"""How many texts were not kept, by reason."""


@dataclass(frozen=True)
class Wanted:
    """Which texts are kept.

    Attributes:
        unique: none that was kept before, prompt and continuation together.
        min_length: none shorter than so many characters; None: any.
        max_length: none that has not ended by itself (at the end of its document, or before a stop string) within so many characters;
            None: any. So nothing that is kept is cut.
        keep: none of which this function says False; it is asked last.

    Raises:
        SettingsError: a length is no number, negative, or the least is greater than the most.
    """

    unique: bool = False
    min_length: int | None = None
    max_length: int | None = None
    keep: Callable[[Generated], bool] | None = None

    def __post_init__(self) -> None:
        for name in ("min_length", "max_length"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                raise SettingsError(
                    tr("{name} is {value!r}", name=name, value=value), expected=tr("a number of characters, 0 or more, or None")
                )
        if self.min_length is not None and self.max_length is not None and self.min_length > self.max_length:
            raise SettingsError(
                tr("min_length is {min_length} and max_length {max_length}", min_length=self.min_length, max_length=self.max_length),
                expected=tr("a min_length no greater"),
            )

    def refusal(self, made: Generated, kept: set[str]) -> str | None:
        """Why a text is not kept, in two or three words; None: it is."""
        if self.min_length is not None and len(made.text) < self.min_length:
            return "too short"
        if self.max_length is not None and (made.finish_reason == "length" or len(made.text) > self.max_length):
            return "too long"
        if self.unique and made.prompt + made.text in kept:
            return "there already"
        return "not wanted" if self.keep is not None and not self.keep(made) else None


@dataclass(frozen=True)
class Collected:
    """What was found.

    Attributes:
        texts: prompt by prompt, those of a prompt in the order of their rows.
        written: how many texts were written for it, the last round's surplus not counted.
        refused: how many of them were not kept, by reason.
        notice: a sentence where fewer were found than were asked for, else None.
        notices: sentences about symbols that the model has never seen.
    """

    texts: list[Generated]
    written: int
    refused: dict[str, int]
    notice: str | None
    notices: tuple[str, ...]


@dataclass
class _Prompt:
    """A prompt for which texts are still missing, perhaps."""

    number: int
    start: Start
    kept: list[Generated] = field(default_factory=list)
    tried: int = 0


def collect(
    generator: Generator,
    prompts: str | Sequence[str] = "",
    *,
    wanted: Wanted,
    samples: int = 1,
    length: int | None = 500,
    settings: SampleSettings | None = None,
    seed: int | None = None,
    stop: str | Sequence[str] = (),
    begins: str = "",
) -> Collected:
    """Writes texts until `samples` are kept for each prompt, or 50 times as many were written (500 at least).

    What is not kept is written anew with another row of the same seed. The k-th text tried for prompt p of P is that of row
    ``p * samples + k`` of the call, and from ``k = samples`` on of row ``P * samples + (k - samples) * P + p``: so what is kept
    is a part of what the seed would give, and the first of it that will do. A text thus has the probability that the model
    gives it among those that are wanted: no end is forced or forbidden. Where nothing is left to chance (`is_certain`), no more texts are
    written than are asked for, and only one if they have to be unlike each other.

    Args:
        generator: what writes.
        prompts: as for `Generator.generate`.
        wanted: which texts are kept.
        samples: texts for each prompt, 1 or more.
        length: characters after which a text is cut; with a `max_length` above that, or None.
        settings: how symbols are drawn.
        seed: of the draws; None: one that nobody chose.
        stop: strings before which a text ends.
        begins: what every text begins with.

    Raises:
        SettingsError: a value is out of its range; the lengths contradict each other; or `max_length` is asked of texts that
            never end by themselves.
        UnknownSymbolError: a symbol is unseen, and the vocabulary has no ``<unk>``.
    """
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise SettingsError(tr("samples is {samples!r}", samples=samples), expected=tr("1 or more"))
    texts, stops = as_texts(prompts, "prompts"), as_texts(stop, "stop")
    written_length = _written_length(generator, wanted, length, stops)
    checked_room(generator.tokenizer.normalize(checked_begins(begins)), written_length if wanted.max_length is None else wanted.max_length)
    chosen = fresh_seed() if seed is None else seed
    uniform_stream(chosen, 0)
    settings = settings or SampleSettings()
    open_prompts = [_Prompt(number, generator.start(text, begins)) for number, text in enumerate(texts)]
    certain = is_certain(settings)
    cap = (1 if wanted.unique else samples) if certain else max(_LEAST_TRIES, _TRIES * samples)
    seen: set[str] = set()
    refused: Counter[str] = Counter()

    while waiting := [prompt for prompt in open_prompts if len(prompt.kept) < samples and prompt.tried < cap]:
        tries = [
            (prompt, _row(prompt.number, k, samples, len(texts)))
            for prompt in waiting
            for k in range(prompt.tried, prompt.tried + _round(prompt, samples, cap))
        ]
        starts = [(prompt.start, row) for prompt, row in tries]
        made = {one.row: one for one in generator.rows(starts, length=written_length, settings=settings, seed=chosen, stop=stops)}
        for prompt, row in tries:
            if len(prompt.kept) < samples:
                one = made[row]
                prompt.tried += 1
                reason = wanted.refusal(one, seen)
                if reason is None:
                    prompt.kept.append(one)
                    seen.add(one.prompt + one.text)
                else:
                    refused[reason] += 1
    kept = [one for prompt in open_prompts for one in prompt.kept]
    written = sum(prompt.tried for prompt in open_prompts)
    notice = None
    if len(kept) < samples * len(texts):
        reasons = ", ".join(tr(_REFUSED[reason], count=count) for reason, count in refused.most_common())
        why = [tr("of {written:,} that were written, {reasons}", written=written, reasons=reasons)] if refused else []
        why += [tr("with temperature 0 or top_k 1 a prompt has but one text")] if certain else []
        asked = samples * len(texts)
        notice = tr("{kept:,} of the {asked:,} texts asked for: {why}", kept=len(kept), asked=asked, why="; ".join(why))
    notices = tuple(dict.fromkeys(notice for prompt in open_prompts for notice in prompt.start.notices))
    return Collected(kept, written, dict(refused), notice, notices)


def _row(prompt: int, k: int, samples: int, prompts: int) -> int:
    """The row of the k-th text tried for a prompt."""
    return prompt * samples + k if k < samples else prompts * samples + (k - samples) * prompts + prompt


def _round(prompt: _Prompt, samples: int, cap: int) -> int:
    """How many texts to try next: as many as are missing, and more where few of those before were kept."""
    missing = samples - len(prompt.kept)
    likely = missing if prompt.tried == 0 else missing * prompt.tried // max(1, len(prompt.kept))
    return min(max(missing, likely), _MOST_AT_ONCE, cap - prompt.tried)


def _written_length(generator: Generator, wanted: Wanted, length: int | None, stops: Sequence[str]) -> int:
    """How far texts are written: with a `max_length` so far that an end within it is seen.

    Raises:
        SettingsError: the lengths contradict each other, or nothing would ever end.
    """
    if length is not None:
        checked_length(length)
    if wanted.max_length is None:
        if length is None:
            raise SettingsError(tr("length is None, and so is max_length"), expected=tr("a number of characters for one of them"))
        if wanted.min_length is not None and wanted.min_length > length:
            raise SettingsError(
                tr("min_length is {min_length} and length {length}", min_length=wanted.min_length, length=length),
                expected=tr("a min_length no greater"),
            )
        return length
    if length is not None and length <= wanted.max_length:
        raise SettingsError(
            tr(
                "max_length is {max_length} and length {length}: every text would be cut before it is too long",
                max_length=wanted.max_length,
                length=length,
            ),
            expected=tr("a greater length, or none"),
        )
    if generator.tokenizer.eos_id is None and not stops:
        raise SettingsError(
            tr(
                "max_length is {max_length}, and this model's texts never end by themselves: it learnt one stream, not documents",
                max_length=wanted.max_length,
            ),
            expected=tr("a stop string beside it"),
            hint=tr("or length instead, which cuts"),
        )
    return wanted.max_length + max([1, *map(len, stops)])
