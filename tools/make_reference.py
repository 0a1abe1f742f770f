"""Writes the pages of docs/reference that are made: settings and commands from the code, measurements from the benchmarks' records.

It knows nothing of what a setting or a command does: every sentence about one comes from its own description.

    python tools/make_reference.py            write the pages
    python tools/make_reference.py --check    fail when a page is not what it would write
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from escriba.cli.main import COMMANDS, cli
from escriba.fields import Field
from escriba.presets import PRESETS
from escriba.settings import ModelSettings, SampleSettings, Settings, TextSettings, TrainSettings, shown

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "reference"
RECORDS = ROOT / "benchmarks" / "results"
WIDTH = 100
"""Columns of the help on the page, whatever the terminal."""

MEASUREMENTS_HEAD = """\
# Measurements

Every figure here was printed by the command above its table, which also wrote the record in `benchmarks/results` that the table is made
from. Losses are in nats a symbol; smaller is better. `lessons`: the lessons' own network and training, held against the losses that the
lessons print.

`scoreboard`: on each text what `escriba train` gives by itself in so many minutes (`whole s`: from the text in memory to the last
measurement; `layers` and `hidden`: the size that it took for the time), the cells of the lessons and a neural n-gram with a window of 3
in the same (`--cell`), the lessons' own preset `tutorial`, an LSTM of PyTorch's trained the ordinary way (in float32, at a rate that
stays), n-grams that count (`Kneser-Ney 6` is `--cell counts` of order 6, the next symbol included), and xz. Of several `seeds` the means
stand there, and the standard deviations (`sd`); `three of them together` are the three that `escriba train` gave, their probabilities
averaged (`--with`). `stream loss` and `bits per char` are of the held-out tenth read as one stream, in 16 lanes at once, which is within
about a thousandth of a nat; `window loss` of the same in fresh windows of 256 symbols; of names and titles each is read from its
beginning. `parameters` of what counts are its n-grams. xz is conditional: the size of the whole text less that of the text without its
held-out tenth. Not all learn from as much: `escriba train`, whatever the cell, learns the choosing part too in the end (2 % of what is
not held out, right before it), and n-grams count it; `tutorial` and PyTorch's LSTM only choose their weights by it.
`tutorial, join=0.7` learns it as the default does; `escriba train, join=none` is the default that does not. `ranking`: where ordinary
words stand among all orders of their letters, and a sentence against the same without blanks."""

EXPECT_HEAD = """\
# What to expect

How well a model foretells your text depends above all on how much text there is, then on how long it learns. Here `escriba train TEXT
--minutes M` with nothing else, on three texts."""

EXPECT_READ = """\
`bits per character` of the held-out last tenth: fewer is better, and the counting 6-gram beside it is what counting alone gives on the
same part. `copied` is the share of stretches of 32 characters, in 10,000 characters that the model wrote, that stand in the training
text. Where a text is short its minutes are not used up: it is read as often as is of use, and no more.

With 100,000 characters the network is a little better than counting, and writes words rather than sentences: a text to play with. It is
the longer text and the longer time together that leave counting behind. `the two together` is the average of the network's probabilities
and the counts' (`escriba evaluate MODEL --with COUNTS`, likewise `generate` and `score`): where the two are near, it is better than
either; where the network is far ahead, the counts only hold it back. An hour of Don Quijote gains little over 28 minutes, which come to
1.542 ([experiments](explanation/experiments.md#the-recipe)), or over three models of ten minutes each with other seeds, whose averaged
probabilities come to 1.541 (`--with`; [scoreboard](reference/measurements.md#scoreboard)). The figures of other texts differ: a novel
repeats itself more than verse, and so costs fewer bits."""

TEXTS = ("written",)
"""Columns of the records that are texts, and stand on no table."""

GENERATED = "<!-- Made by tools/make_reference.py: change the code that it describes, then run that. -->"

SECTIONS: Mapping[str, type[Settings]] = {"text": TextSettings, "model": ModelSettings, "train": TrainSettings, "sample": SampleSettings}

JSON_FIELDS: Mapping[str, str] = {
    "corpus": (
        "one object: `sources`, `characters`, `documents` (null: one stream), `lengths` (`min`, `median`, `max`, or null), `unit`, "
        "`vocabulary`, `commonest` and `rarest` (lists of `symbol` and `count`), `parts` (characters of `train`, `choosing`, `held_out`), "
        "`labels` (documents by label), "
        "`duplicated_lines` (`count`, `of`, `share`, `examples`), `suspected_mojibake` (a list of `found`, `meant`, `count`), `looked_at` "
        "(characters that those two are of; null: all), `notes`"
    ),
    "train": (
        "one object, the closing figures: `folder`, `reason` (`length`, `patience`, `interrupted`), `kept` (`best`, `averaged`, `last`, "
        "`counts`), `steps`, `epochs`, `symbols_seen`, `elapsed_s`, `train_loss_nats`, `loss_nats`, `bits_per_char`, `perplexity`, "
        "`held_out_symbols`, `again` (settings that train as long on any machine, where a time was the measure, else null), `baselines` "
        "(bits per character of simple ways on the held-out part, by name, or null), `compared` (the same in a sentence); "
        "the loss and what follows from it are null where nothing was measured"
    ),
    "texts": (
        "a list of objects: `name`, `title`, `author`, `language`, `bytes`, `sha256`, `address`, `licence`, `encoding`, `reading` (how it "
        "is read: settings), `cached`; `texts get --json` prints a list of objects: `name`, `path`, `bytes`, `sha256`"
    ),
    "list": "a list of the objects that `show` prints; a model that cannot be read has `model` and `error` alone",
    "show": (
        "one object: `model`, `cell`, `unit`, `vocab_size`, `parameters`, `layers` (parameters of each part), `bytes`, `weights` "
        "(`float32`, `bf16`, `int8`, or null: an n-gram that counts), `finished`, "
        "`corpus`, `steps`, `epochs`, `elapsed_s`, `loss_nats`, `bits_per_char`, `best`, `curve` (a list of `step` and `loss_nats`), "
        "`kept`, `settings` (config.json)"
    ),
    "recall": (
        "one object: `longest` (`start`, `length`, `passage`, `position`, `line`, `line_text`; null: nothing), `passages` (a list of "
        "such), `novel_share` (by length, 0 to 1), `lines` (a list of `line`, `is_new`, `longest`), `training_characters`, "
        "`is_documents`"
    ),
    "generate": (
        "one object with `texts`, a list of objects: `prompt`, `text` (without the prompt), `log_likelihood` (nats), `seed`, `row`, "
        "`finish_reason` (`length`, `stop`, `eos`), `temperature` (null with a beam or a cycle), and with a beam `normalized`; and "
        "`precision` (in which they were written: `float32`, `bf16`, `int8`, or `float64` of an n-gram that counts)"
    ),
    "score": (
        "one object for one text, a list of them for several: `log_likelihood` (nats), `symbols`, `bits_per_char`, `bits_per_byte`, "
        "`perplexity`, `unknown`, `convention`, `more_surprising_than` (0 to 1, or null), `precision`; with `--symbols` also `by_symbol`, "
        "a list of `symbol`, `surprisal_nats`, `surprisal_bits`, `probability`, `rank`, `expected`; with `--per-line` an object a line: "
        "`line`, `log_likelihood`, `symbols`, `characters`, `unknown`, `bits_per_char`, `text`, `convention`, `precision`"
    ),
    "rank": (
        "a list of objects, the likeliest first: `rank`, `text`, `log_likelihood` (nats), `symbols`, `bits_per_char`, `bits_per_byte`, "
        "`perplexity`, `unknown`, `convention`, `more_surprising_than` (0 to 1, or null), `precision`, and with `--permutations` `given` "
        "(true for the word itself)"
    ),
    "evaluate": (
        "one object for one model and protocol, else a list: `model`, `protocol`, `loss_nats`, `standard_error`, `bits_per_char`, "
        "`bits_per_byte`, `perplexity`, `symbols`, `characters`, `unknown`, `convention`, `text_sha256` (of the text without its blanks: "
        "figures of one text have the same), `precision`; with `--typical` what typical.json holds"
    ),
    "pack": (
        "one object: `model`, `path`, `weights` (null: an n-gram that counts), `bytes_before` and `bytes` (of all files), "
        "`weight_bytes_before` and `weight_bytes`, `bits_per_char_before` and `bits_per_char`, `measured_on` (`held-out`, or the file), "
        "`characters` (of the text measured on), `why_not` (why nothing was measured); null where nothing was measured"
    ),
    "next": "one object: `context`, `next` (a list of `symbol`, `probability`, `logit`, the likeliest first), `precision`",
    "doctor": "one object: `ok`, and `checks`, a list of objects: `what`, `found`, `ok`, and where there is one `hint`",
}
"""What each command's --json prints."""

FORMS: Mapping[str, str] = {"keep_every": "`epoch`, or a whole number", "device": "`auto`, `cpu`, `cuda`, `cuda:N` or `mps`"}
"""In words, the settings whose form is a pattern."""

SETTINGS_HEAD = """\
Every setting has one name: in Python (`escriba.train(..., hidden_size=256)`), in `config.json`, and after `--set`
(`--set model.hidden_size=256`). The common ones have an option of their own. `none` means off, or without limit; in Python it is
`None`.

A [preset](#presets) gives every setting of the sections model and train, and what you name yourself goes before it. The defaults
in the tables are those of the settings classes: they hold where you build `ModelSettings` or `TrainSettings` yourself."""

COMMANDS_HEAD = """\
`python -m escriba` does whatever `escriba` does. Results go to standard output, and what is only said to a person to standard
error, so `>` and `|` take the results alone. `-` as a file is standard input. MODEL is a folder, a packed file, or a name under
`models/`.

The exit status is 0; 1 after an error, which says what was met, what was expected and what to type; 2 when the command line
itself is wrong; 130 after Ctrl-C.

`--lang es`, before a command or after it, speaks Spanish; so does the variable `ESCRIBA_LANG=es`, or a system that is in Spanish. Flags,
JSON keys and a model's files are the same in every language."""


def kind(field: Field) -> str:
    """The values of a setting, as a person reads them."""
    return ", or ".join("`none`" if one is type(None) else one_kind(one, field.bounds) for one in field.kinds())


def one_kind(one: Any, bounds: Mapping[str, float]) -> str:
    """One of the types that a setting may have, with its bounds."""
    if typing.get_origin(one) is typing.Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(one))
    if typing.get_origin(one) is tuple:
        return one_kind(typing.get_args(one)[0], {}) + "s, commas between them"
    names = {int: "whole number", float: "number", str: "text", bool: "`yes`, `no`"}
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    limits = [f"{word} {number(bounds[bound])}" for bound, word in words.items() if bound in bounds]
    if "max_length" in bounds:
        limits.append(f"at most {bounds['max_length']:,} characters")
    return ", ".join([names[one], *limits])


def number(bound: float) -> str:
    """A bound as a person writes it; a very large one as the power of two that it is."""
    if bound >= 2**40 and int(bound).bit_count() == 1:
        return f"2^{int(bound).bit_length() - 1}"
    return f"{int(bound):,}" if bound == int(bound) else f"{bound:g}"


def cell(text: str) -> str:
    """A text as a cell of a table: bars and names in angle brackets would not be shown as they are."""
    return re.sub(r"<\w+>", r"`\g<0>`", text).replace("|", "\\|")


def flags(section: str, name: str) -> str:
    """The options of `train` (of `generate` for drawing) that set this setting, or the ``--set`` that does."""
    command = command_of("generate" if section == "sample" else "train")
    wanted = {"temperature": "temperatures"}.get(name, name)
    found = [option for one in command.params if one.name == wanted and isinstance(one, click.Option) for option in one.opts]
    if found:
        return ", ".join(f"`{option}`" for option in found)
    return f"`--set {section}.{name}=...`"


def settings_page() -> str:
    """Every setting, section by section, and what the presets set."""
    parts = [
        "# Settings",
        GENERATED,
        SETTINGS_HEAD,
    ]
    for section, settings in SECTIONS.items():
        parts.append(f"## {section}\n\n`escriba.{settings.__name__}`: {(settings.__doc__ or '').partition(chr(10))[0]}")
        rows = ["| setting | values | default | on the command line | meaning |", "|---|---|---|---|---|"]
        for name, field in settings.fields.items():
            values = FORMS.get(name) or kind(field)
            default = f"`{shown(field.default)}`" if shown(field.default) else "empty"
            rows.append(f"| `{name}` | {values} | {default} | {flags(section, name)} | {cell(field.description or '')} |")
        parts.append("\n".join(rows))
    return "\n\n".join([*parts, *presets_part()]) + "\n"


def presets_part() -> list[str]:
    """What each preset is for, and every setting in which presets differ from the defaults."""
    first, *_ = PRESETS
    described = "\n".join(f"- `{name}`: {preset.purpose}" for name, preset in PRESETS.items())
    rows = ["| setting | default | " + " | ".join(PRESETS) + " |", "|---|---|" + "---|" * len(PRESETS)]
    for section, settings in (("model", ModelSettings), ("train", TrainSettings)):
        for name, field in settings.fields.items():
            values = [getattr(preset.model if section == "model" else preset.train, name) for preset in PRESETS.values()]
            if any(value != field.default for value in values):
                cells = " | ".join(f"`{shown(value)}`" for value in values)
                rows.append(f"| `{section}.{name}` | `{shown(field.default)}` | {cells} |")
    ngrams = [
        f"For the cell `ngram`, `{name}` takes " + ", ".join(f"`{key}` {shown(value)}" for key, value in preset.for_ngram.items()) + "."
        for name, preset in PRESETS.items()
        if preset.for_ngram
    ]
    head = f"## Presets\n\n{described}\n\nThe preset is `{first}` unless `--preset` names another. Where they differ:"
    return [head, "\n".join(rows), *ngrams]


def context() -> click.Context:
    """The context of the whole command line, with a width of its own."""
    return click.Context(cli, info_name="escriba", terminal_width=WIDTH, **cli.context_settings)


def command_of(name: str) -> click.Command:
    """A command by its name."""
    found = cli.get_command(context(), name)
    assert found is not None
    return found


def help_of(name: str) -> str:
    """What ``escriba NAME --help`` prints, in `WIDTH` columns, and after it the same of the commands below that one."""
    command = command_of(name)
    here = click.Context(command, info_name=name, parent=context())
    below = command.commands if isinstance(command, click.Group) else {}
    helps = [here.get_help(), *(click.Context(one, info_name=word, parent=here).get_help() for word, one in below.items())]
    return "\n\n\n".join("\n".join(line.rstrip() for line in text.splitlines()) for text in helps)


def commands_page() -> str:
    """Every command's help, by group, and the fields of its JSON."""
    parts = [
        "# Commands",
        GENERATED,
        COMMANDS_HEAD,
        "\n".join(
            ["| command | what it does |", "|---|---|", *(f"| [`{name}`](#{name}) | {one.help} |" for name, one in COMMANDS.items())]
        ),
    ]
    for name in COMMANDS:
        parts.append(f"## {name}\n\n```text\n{help_of(name)}\n```")
        if name in JSON_FIELDS:
            parts.append(f"`--json` prints {JSON_FIELDS[name]}.")
    return "\n\n".join(parts) + "\n"


def measurements_page() -> str:
    """The records of the benchmarks as tables: what was measured, by which command, on which machine, when."""
    parts = [GENERATED, MEASUREMENTS_HEAD]
    for path in sorted(RECORDS.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        names = [name for name in dict.fromkeys(name for row in record["rows"] for name in row) if name not in TEXTS]
        table = ["| " + " | ".join(name.replace("_", " ") for name in names) + " |", "|" + "---|" * len(names)]
        table += ["| " + " | ".join(figure(row.get(name, "")) for name in names) + " |" for row in record["rows"]]
        machine = record["machine"]
        where = f"{machine['processor']}, {machine['processors']} cores, {machine['system']}, PyTorch {machine['torch']}"
        parts += [
            f"## {record['benchmark'].removeprefix('bench_')}",
            f"`{record['command']}` on {record['date']} ({where})",
            "\n".join(table),
        ]
    return "\n\n".join(parts) + "\n"


def expect_page() -> str:
    """What texts of other sizes and other times come to, from the record of `bench_expect.py`."""
    path = RECORDS / "bench_expect.json"
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"rows": []}
    columns = {
        "text": "text",
        "minutes": "minutes",
        "network": "layers x size",
        "epochs": "times through the text",
        "characters_per_s": "characters a second",
        "bits_per_char": "bits per character",
        "counting_6_gram": "counting 6-gram",
        "together": "the two together",
        "copied": "copied",
    }
    rows = [{**row, "copied": f"{row['copied']:.1%}"} for row in record["rows"]]
    table = ["| " + " | ".join(columns.values()) + " |", "|" + "---|" * len(columns)]
    table += ["| " + " | ".join(figure(row[name]) for name in columns) + " |" for row in rows]
    written = [f"## {row['text']}, {row['minutes']:g} minutes\n\n```text\n{row['written']}\n```" for row in rows]
    where = ""
    if rows:
        machine = record["machine"]
        where = f"Measured by `{record['command']}` on {machine['processor']}, {machine['processors']} cores, {record['date']}."
    return "\n\n".join(part for part in (GENERATED, EXPECT_HEAD, where, "\n".join(table), EXPECT_READ, *written) if part) + "\n"


def figure(value: Any) -> str:
    """One cell of such a table."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def pages() -> dict[str, str]:
    """Every page by file name."""
    return {
        "settings.md": settings_page(),
        "commands.md": commands_page(),
        "measurements.md": measurements_page(),
        "../what-to-expect.md": expect_page(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes or checks the pages; gives the exit status."""
    parser = argparse.ArgumentParser(description="Makes the reference pages of settings and commands.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is stale")
    parser.add_argument("--to", type=Path, default=FOLDER, metavar="FOLDER", help="where the pages are (default: docs/reference)")
    asked = parser.parse_args(arguments)
    stale = 0
    for name, content in pages().items():
        path = asked.to / name
        if path.is_file() and path.read_text(encoding="utf-8") == content:
            continue
        stale += 1
        if asked.check:
            print(f"{path} is stale: run python tools/make_reference.py", file=sys.stderr)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8", newline="\n")
        print(f"wrote {path}", file=sys.stderr)
    return int(asked.check and stale > 0)


if __name__ == "__main__":
    raise SystemExit(main())
