"""The command line that all tables share, and the loop that makes their trials and files."""

from __future__ import annotations

import argparse
import datetime
import json
import shlex
import sys
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from circumstances import git_commit, machine_in_words, versions
from experiment import Record, make_record, warm_up
from paths import DEFAULT_DATA, DEFAULT_RESULTS
from report import Circumstances, header_lines, markdown_rows, spread

from napari_unet.errors import ConfigError, FileProblemError, NapariUNetError
from napari_unet.model.devices import choose_device, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from experiment import Trial
    from report import Summary

BudgetName = Literal["small", "full"]

# Minutes of training per run, of every table: the one place where they are said.
MINUTES: dict[str, dict[BudgetName, float]] = {
    "paper": {"small": 4.0, "full": 30.0},
    "goals": {"small": 15.0, "full": 5.0},
    "ablation": {"small": 2.5, "full": 5.0},
    "few_labels": {"small": 1.0, "full": 5.0},
    "strokes": {"small": 0.5, "full": 0.5},
    "starting_weights": {"small": 0.5, "full": 0.5},
}


@dataclass(frozen=True)
class Options:
    """What the command line says; see ``--help``."""

    data: Path
    budget: BudgetName
    minutes: float
    threads: int

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for name in ("minutes", "threads"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; choose more than 0.")

    @property
    def form(self) -> str:
        """Say for people what kind of table this is."""
        small = self.budget == "small"
        form = "**This is the small form for a CPU**" if small else "This is the full form"
        return (
            f"{form}: {self.minutes:g} min of training per run, {self.threads} threads. "
            "Means ± standard deviations over the runs."
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Say the same for programs."""
        return {"budget": self.budget, "minutes": self.minutes}


class AnyOptions(Protocol):
    """What every table is told; `Options` is what most of them are."""

    @property
    def threads(self) -> int:
        """Of the CPU."""

    @property
    def form(self) -> str:
        """What kind of table this is, for people."""

    @property
    def settings(self) -> dict[str, Any]:
        """The same for programs."""


@dataclass(frozen=True)
class Table:
    """What makes one table differ from another.

    Parameters
    ----------
    name, title : str
        Of its files and of its heading.
    columns : tuple of str
        Keys of the scores in the order of the columns.
    plan : callable
        Returns all trials, in order; called with the options of the table's command line.
    notes : tuple of str
        Paragraphs under the table.
    published : mapping
        From data set and key to the figure to compare with.
    derive : callable
        Adds scores that compare finished trials with each other; for the Markdown only.
    summary : callable
        Words what several runs of a row have scored.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    plan: Callable[[Any], list[Trial]]
    notes: tuple[str, ...] = ()
    published: Mapping[tuple[str, str], float] = field(default_factory=dict)
    derive: Callable[[list[Record]], list[Record]] = list
    summary: Summary = spread


def run_table(table: Table) -> None:
    """Read the command line that most tables share, and make the table."""
    run_with(table, _parser(table), partial(_options_of, table))


def run_with(
    table: Table,
    parser: argparse.ArgumentParser,
    options_of: Callable[[argparse.Namespace], AnyOptions],
) -> None:
    """Read a command line of the table's own, and make the table.

    Parameters
    ----------
    table : Table
        The table.
    parser : ArgumentParser
        With the arguments of `add_common_arguments` among its own.
    options_of : callable
        Makes of what it has read what the table's plan is called with.
    """
    values = parser.parse_args()
    try:
        lines = make_table(table, options_of(values), values)
    except NapariUNetError as error:
        parser.exit(1, f"{error}\n")
    print("\n".join(lines))


def make_table(table: Table, options: AnyOptions, values: argparse.Namespace) -> list[str]:
    """Make what is not made yet, and write the files after each run.

    Parameters
    ----------
    table : Table
        The table.
    options : AnyOptions
        What its plan is called with.
    values : Namespace
        Of the arguments of `add_common_arguments`.

    Returns
    -------
    list of str
        The finished rows as Markdown.
    """
    torch.set_num_threads(options.threads)
    trials = table.plan(options)
    made = _Results(table, options, values.output, trials)
    if not values.fresh:
        made.read()
    make_all(chosen(trials, values.only), made)
    made.write()
    return made.table_lines()


def chosen(trials: Sequence[Trial], only: str | None) -> list[Trial]:
    """Return the trials whose row or data set holds a text.

    Raises
    ------
    ConfigError
        There is none.
    """
    found = [t for t in trials if only is None or only in f"{t.dataset} {t.row}"]
    if not found:
        rows = ", ".join(dict.fromkeys(f"{t.dataset} {t.row}" for t in trials))
        raise ConfigError(f"No row is called {only!r}; choose a part of one of: {rows}.")
    return found


def make_all(trials: Sequence[Trial], made: _Results) -> None:
    """Make the trials that are not made; each is kept as soon as it is finished."""
    commit = git_commit()
    missing = [trial for trial in trials if not made.has(trial)]
    if missing:
        warm_up()
    for number, trial in enumerate(missing, 1):
        print(f"[{number}/{len(missing)}] {trial.title}", flush=True)
        made.add(make_record(trial, commit))


class _Results:
    """The finished trials of a table, and its two files."""

    def __init__(
        self, table: Table, options: AnyOptions, folder: Path, trials: Sequence[Trial]
    ) -> None:
        self._table, self._options, self._folder, self._trials = table, options, folder, trials
        self._records: list[Record] = []

    def read(self) -> None:
        """Take over what an interrupted table has finished with the same settings."""
        path = self._path("json")
        if not path.is_file():
            return
        try:
            content = json.loads(path.read_text())
            found = [Record(**run) for run in content["runs"]]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise FileProblemError(
                f"{path} is no table of this program ({error}); start over with --fresh."
            ) from error
        here = (describe(choose_device()), self._options.threads)  # no mixture of machines
        self._records = [
            r
            for r in found
            if (r.device, r.threads) == here and any(r.is_of(trial) for trial in self._trials)
        ]

    def has(self, trial: Trial) -> bool:
        return any(record.is_of(trial) for record in self._records)

    def add(self, record: Record) -> None:
        self._records.append(record)
        self.write()

    def table_lines(self) -> list[str]:
        table = self._table
        records = table.derive(self._in_order())
        return markdown_rows(records, table.columns, table.published, table.summary)

    def _in_order(self) -> list[Record]:
        return [r for trial in self._trials for r in self._records if r.is_of(trial)]

    def write(self) -> None:
        """Write both files, whole or not at all."""
        circumstances = self._circumstances()
        records = self._in_order()
        complete = len(records) == len(self._trials)
        content = {
            "table": self._table.name,
            "complete": complete,
            **self._options.settings,
            **asdict(circumstances),
            "runs": [asdict(record) for record in records],
        }
        lines = header_lines(self._table.title, circumstances, records)
        if not complete:
            lines += [f"**Unfinished: {len(records)} of {len(self._trials)} runs.**", ""]
        lines += self.table_lines()
        for note in self._table.notes:
            lines += ["", note]
        self._folder.mkdir(parents=True, exist_ok=True)
        _replace(self._path("json"), json.dumps(content, indent=1))
        _replace(self._path("md"), "\n".join(lines))

    def _circumstances(self) -> Circumstances:
        options = self._options
        arguments = [a for a in sys.argv[1:] if a != "--fresh"]
        command = shlex.join(["python", f"benchmarks/accuracy/{self._table.name}.py", *arguments])
        return Circumstances(
            command,
            options.form,
            options.threads,
            machine_in_words(),
            datetime.datetime.now(datetime.UTC).date().isoformat(),
            versions(),
        )

    def _path(self, ending: str) -> Path:
        return self._folder / f"{self._table.name}.{ending}"


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all: an interruption costs no finished run."""
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every table can be told."""
    add: Any = parser.add_argument
    add("--data", type=Path, default=DEFAULT_DATA, help="folder of the data sets")
    add("--threads", type=int, default=2, help="of the CPU")
    add("--only", metavar="ROW", help="make only rows that hold this text")
    add("--output", type=Path, default=DEFAULT_RESULTS, help="folder of the results")
    add("--fresh", action="store_true", help="forget finished runs and start over")


def _options_of(table: Table, values: argparse.Namespace) -> Options:
    budget: BudgetName = values.budget or ("full" if torch.cuda.is_available() else "small")
    minutes = MINUTES[table.name][budget] if values.minutes is None else values.minutes
    return Options(values.data, budget, minutes, values.threads)


def _parser(table: Table) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=table.title)
    add: Any = parser.add_argument
    add("--budget", choices=("small", "full"), help="full where there is CUDA, else small")
    add("--minutes", type=float, help="of training per run, instead of the budget's")
    add_common_arguments(parser)
    return parser
