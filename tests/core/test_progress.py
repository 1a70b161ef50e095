"""Progress is a bar on a terminal and a plain line now and then in a file."""

from __future__ import annotations

from io import StringIO

from holdfast.core.progress import Progress


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_without_a_terminal_there_is_a_plain_line_every_ten_seconds() -> None:
    file, clock = StringIO(), Clock()
    progress = Progress(stage="drift", stream=file, clock=clock)
    with progress.of(60, "rounds"):
        for _ in range(30):
            clock.now += 1
            progress.advance(1, 4)
        assert file.getvalue().splitlines() == [
            "drift: 10 of 60 rounds, 4.0 replies/s, 0:00:50 left",
            "drift: 20 of 60 rounds, 4.0 replies/s, 0:00:40 left",
            "drift: 30 of 60 rounds, 4.0 replies/s, 0:00:30 left",
        ]
        progress.advance(30, 0)
    assert file.getvalue().splitlines()[-1] == "drift: 60 of 60 rounds, 4.0 replies/s"


def test_a_long_step_has_its_line_when_it_ends() -> None:
    file, clock = StringIO(), Clock()
    progress = Progress(stream=file, clock=clock)
    with progress.of(2, "items"):
        clock.now += 3600
        progress.advance(1, 0)
        assert file.getvalue() == "1 of 2 items, 1:00:00 left\n"


def test_what_an_earlier_run_did_takes_no_time() -> None:
    file, clock = StringIO(), Clock()
    progress = Progress(stream=file, clock=clock)
    with progress.of(100, "rounds"):
        progress.resume(90)
        clock.now += 10
        progress.tick()
        clock.now += 10
        progress.advance(2, 0)
        assert file.getvalue().splitlines() == [
            "90 of 100 rounds, 90 of an earlier run",
            "92 of 100 rounds, 90 of an earlier run, 0:01:20 left",
        ]


def test_parts_of_a_step_are_shown_and_no_line_is_written_twice() -> None:
    file, clock = StringIO(), Clock()
    progress = Progress(stream=file, clock=clock)
    with progress.of(1, "rounds"):
        for _ in range(3):
            clock.now += 10
            progress.advance(1 / 3, 0)
    assert [line.split(",")[0] for line in file.getvalue().splitlines()] == [
        "0.3 of 1 rounds",
        "0.6 of 1 rounds",
        "1 of 1 rounds",
    ]


def test_a_run_that_was_done_says_so() -> None:
    file, terminal = StringIO(), Terminal()
    for stream in (file, terminal):
        progress = Progress(stream=stream, clock=Clock())
        with progress.of(8, "rounds"):
            progress.resume(8)
    assert file.getvalue() == "8 of 8 rounds, all of an earlier run\n"
    assert "all of an earlier run" in terminal.getvalue()


def test_on_a_terminal_rates_are_shown_while_the_first_step_still_takes_its_time() -> None:
    terminal, clock, tokens = Terminal(), Clock(), [0]
    progress = Progress(stream=terminal, clock=clock)
    with progress.of(5, "rounds", tokens=lambda: tokens[0]):
        clock.now += 10
        tokens[0] += 1200
        progress.tick()
    assert "0/5 rounds" in terminal.getvalue() and "120 tokens/s" in terminal.getvalue()


def test_before_anything_is_done_no_time_is_promised() -> None:
    file, clock = StringIO(), Clock()
    progress = Progress(stream=file, clock=clock)
    with progress.of(5, "rounds"):
        clock.now += 11
        progress.tick()
        progress.tick()
        assert file.getvalue() == "0 of 5 rounds\n"


def test_a_line_is_not_written_again_where_nothing_was_done_since() -> None:
    file, clock, tokens = StringIO(), Clock(), [0]
    progress = Progress(stream=file, clock=clock)
    with progress.of(9, "items", tokens=lambda: tokens[0]):
        for _ in range(4):
            clock.now += 11
            progress.tick()
        assert file.getvalue() == "0 of 9 items\n"
        tokens[0] += 440
        progress.tick()
        assert file.getvalue().splitlines()[1:] == ["0 of 9 items, 10 tokens/s"]


def test_tokens_are_shown_while_the_first_step_still_takes_its_time() -> None:
    file, clock, tokens = StringIO(), Clock(), [500]
    progress = Progress(stage="drift", stream=file, clock=clock)
    with progress.of(5, "rounds", "screening", lambda: tokens[0]):
        clock.now += 10
        tokens[0] += 1200
        progress.tick()
    assert file.getvalue().splitlines()[0] == "screening: 0 of 5 rounds, 120 tokens/s"


def test_a_second_stage_counts_its_own_replies() -> None:
    file, clock = StringIO(), Clock()
    progress = Progress(stream=file, clock=clock)
    with progress.of(1, "rounds"):
        clock.now += 1
        progress.advance(1, 1000)
    with progress.of(1, "rounds"):
        clock.now += 10
        progress.advance(1, 10)
    assert "1.0 replies/s" in file.getvalue().splitlines()[-1] and progress.replies == 1010


def test_on_a_terminal_there_is_a_bar_and_no_lines() -> None:
    terminal, clock = Terminal(), Clock()
    progress = Progress(stage="drift", stream=terminal, clock=clock)
    with progress.of(2, "rounds"):
        clock.now += 20
        progress.advance(2, 8)
    assert "2/2 rounds" in terminal.getvalue() and "drift:" not in terminal.getvalue()


def test_on_a_terminal_a_finished_stage_is_not_drawn_again_in_the_next() -> None:
    file = Terminal()
    progress = Progress(stream=file)
    with progress.of(7, "rounds"):
        progress.advance(7, 1)
    first = file.tell()
    with progress.of(5, "sets"):
        progress.advance(5, 1)
    assert "5/5 sets" in file.getvalue()[first:] and "rounds" not in file.getvalue()[first:]


def test_disabled_it_writes_nothing() -> None:
    file, clock = StringIO(), Clock()
    progress = Progress(enabled=False, stream=file, clock=clock)
    with progress.of(1, "rounds"):
        clock.now += 60
        progress.advance(1, 1)
    assert file.getvalue() == "" and progress.replies == 1
