"""Mathematical equality by math-verify, in a process of its own with a hard time limit.

math-verify stops itself by a signal, which works in a main thread alone: elsewhere it raises,
and a reward that swallows the exception is 0 for everything. Here it runs in a worker process
without any limit of its own; one that takes too long is killed and started again. What fails,
of either sort, is counted and never taken for a wrong answer in silence.

The worker speaks JSON, a line for a line: [gold, reply] in, {"right", "found"} or {"error"} out.

This module knows two texts. It knows no tasks.
"""

from __future__ import annotations

import contextlib
import json
import queue
import re
import subprocess
import sys
import threading
from importlib.util import find_spec
from typing import Any, NamedTuple

from holdfast.core.errors import HoldfastError
from holdfast.core.extras import install

LIMIT = 5.0  # seconds for one check, of which most take a millisecond
_MOST = 4096  # answers remembered, the last ones asked for
_START = 120.0  # seconds for the worker to import sympy on a busy machine


class Checked(NamedTuple):
    """What a comparison of two mathematical answers gave."""

    right: bool
    """Whether the reply is equal to the gold answer."""
    comparable: bool
    """Whether the reply has anything to compare."""


class MathCheck:
    """A worker that is started when first asked; use it in `with`, or `close` it.

    `errors` counts checks that ended in none: crashed, out of time, or a gold answer that is no
    mathematics. The last answers are remembered, since personas give the same ones.
    """

    def __init__(self, limit: float = LIMIT) -> None:
        self.limit = limit
        self.errors = 0
        self._worker: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()
        self._pump: threading.Thread | None = None
        self._known: dict[tuple[str, str], Checked | None] = {}
        self._lock = threading.Lock()  # one line at a time, whoever asks

    def __enter__(self) -> MathCheck:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def check(self, gold: str, reply: str) -> Checked | None:
        """Whether the reply is equal to `gold` (LaTeX); None, and counted, where that failed."""
        with self._lock:
            known, pair = self._known, (gold, reply)
            # Put behind all others: a dict is in order, so that its first pair is the oldest.
            known[pair] = known.pop(pair) if pair in known else self._ask_worker(gold, reply)
            if len(known) > _MOST:
                del known[next(iter(known))]
            outcome = known[pair]
            self.errors += outcome is None
        return outcome

    def _ask_worker(self, gold: str, reply: str) -> Checked | None:
        try:
            return self._exchange(self._worker or self._start_worker(), gold, reply)
        except BaseException:  # Ctrl-C: what the worker still says would answer the next check
            self.close()
            raise

    def _exchange(self, worker: subprocess.Popen[str], gold: str, reply: str) -> Checked | None:
        assert worker.stdin is not None
        try:
            worker.stdin.write(json.dumps([gold, reply]) + "\n")
            worker.stdin.flush()
            outcome = json.loads(self._lines.get(timeout=self.limit))
        except (queue.Empty, OSError, ValueError):
            self.close()
            return None
        return None if "error" in outcome else Checked(outcome["right"], outcome["comparable"])

    def _start_worker(self) -> subprocess.Popen[str]:
        if find_spec("math_verify") is None:
            raise HoldfastError(
                f"mathematical answers are compared by math-verify: {install('tasks')}."
            )
        worker = subprocess.Popen(
            [sys.executable, "-m", "holdfast.evals.tasks.math_equality"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
        )
        self._worker, self._lines = worker, queue.Queue()
        self._pump = threading.Thread(target=_pump, args=(worker, self._lines), daemon=True)
        self._pump.start()
        try:
            self._lines.get(timeout=_START)  # its greeting
        except queue.Empty:
            self.close()
            raise HoldfastError(
                "the process that compares mathematical answers did not start: see whether "
                "`python -c 'import math_verify'` works."
            ) from None
        return worker

    def close(self) -> None:
        """End the worker; the next check starts another."""
        if self._worker is None:
            return
        worker, self._worker = self._worker, None
        worker.kill()
        worker.wait()
        if self._pump is not None:
            self._pump.join()  # its pipe ends with the worker
        for stream in (worker.stdin, worker.stdout):
            with contextlib.suppress(OSError):  # a line that it never read
                if stream is not None:
                    stream.close()


def _pump(worker: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    """Lines of the worker into a queue, which unlike a pipe can be waited on for a while."""
    assert worker.stdout is not None
    for line in worker.stdout:
        lines.put(line)
    lines.put("")  # the worker is gone: no JSON, so that nobody waits for it


_PLAIN: dict[str, Any] = {"parsing_timeout": None, "raise_on_error": True}
_COMPARE: dict[str, Any] = {
    "timeout_seconds": None,
    "raise_on_error": True,
    "allow_set_relation_comp": True,  # 2 < x < 5 is (2, 5)
}


_ATOM = r"(\{[^{}]*\}|-?\d+|[A-Za-z])"
_TOWER = re.compile(rf"\^{_ATOM}\^{_ATOM}(?![\^\d])")
_ROOT = re.compile(r"√\s*(?:\(([^()]*)\)|(\d+|[A-Za-z]))")
_UNICODE = str.maketrans(
    {
        "²": "^2",
        "³": "^3",
        "×": "\\times ",
        "·": "\\cdot ",
        "÷": "\\div ",
        "−": "-",
        "∞": "\\infty ",
    }
)


def _in_latex(text: str) -> str:
    """A text in LaTeX where math-verify would not read its signs: √2, x², ×, 2^3^2 as 2^9."""
    text = _ROOT.sub(lambda match: rf"\sqrt{{{match[1] or match[2]}}}", text)
    text = text.translate(_UNICODE)
    while (nested := _TOWER.sub(r"^{\1^\2}", text)) != text:
        text = nested
    return text


def _serve() -> None:
    """The worker: answers lines until there are none."""
    import logging

    from math_verify import parse, verify  # type: ignore[import-untyped]

    logging.disable(logging.CRITICAL)
    # The first check builds the grammar, which takes seconds: it is no part of anybody's limit.
    verify(parse("$1$", **_PLAIN), parse("\\boxed{1}", **_PLAIN), timeout_seconds=None)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        gold, reply = (_in_latex(one) for one in json.loads(line))
        try:
            gold = gold.replace("\\$", "")  # money: its sign would end the formula
            gold_values = parse(gold if "$" in gold else f"${gold}$", **_PLAIN)
            value = parse(reply, **_PLAIN)
            if not gold_values:
                answer: dict[str, object] = {"error": "the gold answer is no mathematics"}
            else:
                right = verify(gold_values, value, **_COMPARE)
                answer = {"right": bool(right), "comparable": bool(value)}
        except Exception as error:  # whatever sympy makes of a reply is an error to count
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve()
