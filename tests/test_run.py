from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_unet.run import Run, tap

if TYPE_CHECKING:
    from collections.abc import Generator


def count() -> Generator[int, None, str]:
    yield from (1, 2, 3)
    return "done"


def test_a_run_gives_the_events_of_its_generator() -> None:
    assert list(Run(count())) == [1, 2, 3]


def test_the_result_is_there_after_the_last_event() -> None:
    run = Run(count())
    list(run)
    assert run.result == "done"


def test_there_is_no_result_before_the_end() -> None:
    run = Run(count())
    next(iter(run))
    assert not hasattr(run, "result")


def test_finishing_returns_the_result() -> None:
    assert Run(count()).finish() == "done"


def test_finishing_shows_each_event() -> None:
    seen: list[int] = []
    Run(count()).finish(seen.append)
    assert seen == [1, 2, 3]


def test_an_error_of_the_work_comes_out_of_the_loop() -> None:
    def fail() -> Generator[int, None, str]:
        yield 1
        raise ValueError("odd")

    with pytest.raises(ValueError, match="odd"):
        Run(fail()).finish()


def test_work_is_closed_where_the_loop_over_it_is_left() -> None:
    events = count()
    for _ in Run(events):
        break
    assert list(events) == []


def test_a_tap_shows_each_event_before_it_passes_it_on() -> None:
    seen: list[int] = []
    for event in tap(count(), seen.append):
        assert seen[-1] == event
    assert seen == [1, 2, 3]


def test_a_tap_passes_on_the_result() -> None:
    assert Run(tap(count(), print)).finish() == "done"
