"""Mathematical equality in a worker process: right, wrong, late and crashed."""

from __future__ import annotations

import queue
import subprocess
import threading
from collections.abc import Iterator

import pytest

from holdfast.core.errors import HoldfastError
from holdfast.evals.tasks import math_equality as mathcheck
from holdfast.evals.tasks.math_equality import Checked, MathCheck

pytest.importorskip("math_verify", reason="math-verify is not installed")


@pytest.fixture(scope="module")
def math() -> Iterator[MathCheck]:
    with MathCheck(limit=60) as checker:
        yield checker


@pytest.mark.parametrize(
    ("gold", "reply", "right"),
    [
        ("42", "The answer is 42.", True),
        ("\\frac{1}{2}", "so \\boxed{0.5}", True),
        ("x^2+1", "$1 + x^2$", True),
        ("(3,\\frac{\\pi}{2})", "\\boxed{(3, \\pi/2)}", True),
        ("42", "It is 43.", False),
        ("10,080", "#### 10080", True),
        ("512", "\\boxed{2^3^2}", True),
        ("64", "$2^3^2$", False),
        ("2^{3^2}", "$2^3^2$", True),
        ("64", "$(2^3)^2$", True),
    ],
)
def test_equal_is_equal_however_it_is_written(
    math: MathCheck, gold: str, reply: str, right: bool
) -> None:
    result = math.check(gold, reply)
    assert result is not None
    assert (result.right, result.comparable) == (right, True)
    assert math.errors == 0


def test_a_reply_without_mathematics_is_wrong_and_said_to_hold_none(math: MathCheck) -> None:
    result = math.check("42", "I would rather not.")
    assert result == (False, False)


def test_it_works_outside_the_main_thread(math: MathCheck) -> None:
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(math.check("7", "\\boxed{7}")))
    thread.start()
    thread.join()
    assert results == [(True, True)]


def test_a_check_out_of_time_is_counted_and_the_next_one_works() -> None:
    with MathCheck(limit=60) as checker:
        assert checker.check("1", "1") == (True, True)
        checker.limit = 0.3
        # A tower of powers keeps sympy busy for longer than anybody waits.
        assert checker.check("1", "\\boxed{9^{9^{9^{9^{9}}}}+1}") is None
        assert checker.errors == 1
        checker.limit = 60
        assert checker.check("2", "\\boxed{2}") == (True, True)
        assert checker.errors == 1


def test_a_worker_that_dies_is_counted_and_replaced() -> None:
    with MathCheck(limit=60) as checker:
        assert checker.check("1", "1") == (True, True)
        assert checker._worker is not None
        checker._worker.kill()
        checker._worker.wait()
        assert checker.check("2", "2") is None
        assert checker.check("3", "3") == (True, True)
        assert checker.errors == 1


@pytest.mark.parametrize("started", [False, True])
def test_after_ctrl_c_the_next_check_has_its_own_answer(
    monkeypatch: pytest.MonkeyPatch, started: bool
) -> None:
    def interrupt(*args: object, **options: object) -> str:
        raise KeyboardInterrupt

    with MathCheck(limit=60) as checker:
        assert not started or checker.check("1", "1") == (True, True)
        with monkeypatch.context() as patch:
            patch.setattr(queue.Queue, "get", interrupt)
            with pytest.raises(KeyboardInterrupt):
                checker.check("2", "2")
        assert checker.check("3", "4") == (False, True)


def test_the_last_answers_alone_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mathcheck, "_MOST", 2)
    asked: list[str] = []

    def ask(self: MathCheck, gold: str, reply: str) -> Checked:
        asked.append(reply)
        return Checked(True, True)

    monkeypatch.setattr(MathCheck, "_ask_worker", ask)
    checker = MathCheck()
    for reply in ("1", "2", "1", "3", "1", "2"):
        assert checker.check("1", reply) == (True, True)
    assert asked == ["1", "2", "3", "2"]


def test_no_worker_outlives_its_checker() -> None:
    with MathCheck() as checker:
        checker.check("1", "1")
        worker = checker._worker
        assert isinstance(worker, subprocess.Popen)
    assert worker.poll() is not None


def test_without_math_verify_one_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mathcheck, "find_spec", lambda name: None)
    with pytest.raises(HoldfastError, match="pip install"):
        MathCheck().check("1", "1")
