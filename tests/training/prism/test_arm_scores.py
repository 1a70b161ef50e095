"""Arms are scored on what they answered, and what is missing is neither wrong nor a traceback."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from holdfast.cli.prism import _arm_lines
from holdfast.evals.tasks.tasks import Task
from holdfast.results.training.prism import ArmAnswer, DroppedTasks, PrismEvalSummary
from holdfast.training.prism.arm_scores import EvaluationScores

ARMS = ("base", "matched", "always")


def rows(tasks: int, failed: tuple[tuple[str, int], ...] = ()) -> Any:
    """Scores of arms that answer every task rightly, where they do not fail."""
    some = [Task(f"t-{i}", "sums", (f"{i} and nothing?",), answers=(f"{i}",)) for i in range(tasks)]
    answers = [
        ArmAnswer(arm, one.id, 0, (f"{i}",) * ((arm, i) not in failed) or ("",), (False,), (False,),
                  (arm, i) in failed)
        for arm in ARMS
        for i, one in enumerate(some)
    ]  # fmt: skip
    run = cast(Any, SimpleNamespace(records=answers, verdicts=[]))
    return EvaluationScores.of(run, some, 1, (*ARMS, "oracle")).rows()


def lines(tasks: int, failed: tuple[tuple[str, int], ...] = ()) -> list[str]:
    fields = {"tasks": tasks, "dropped": DroppedTasks(0, 0, 0), "without_persona": {}}
    summary = SimpleNamespace(**fields, rows=rows(tasks, failed), note=None)
    return list(_arm_lines(cast(PrismEvalSummary, summary)))


def test_a_reply_that_did_not_fit_has_no_score() -> None:
    base, matched, *_ = rows(4, (("matched", 0), ("matched", 1)))
    assert (base.overall, base.n, matched.overall, matched.n) == (1.0, 4, 1.0, 2)
    assert matched.against["base"].delta == 0.0
    text = "matched: scored on 2 of 4 tasks, since the others did not fit the context"
    assert text in lines(4, (("matched", 0), ("matched", 1)))


def test_a_difference_is_over_the_samples_that_both_arms_have() -> None:
    task = Task("t", "sums", ("1 and nothing?",), answers=("1",))
    answers = [
        ArmAnswer(arm, task.id, sample, (reply,), (False,), (False,), reply == "")
        for arm, replies in {"base": "120", "matched": ("1", "2", ""), "always": "111"}.items()
        for sample, reply in enumerate(replies)
    ]
    run = cast(Any, SimpleNamespace(records=answers, verdicts=[]))
    by_arm = {one.arm: one for one in EvaluationScores.of(run, [task], 3, (*ARMS, "oracle")).rows()}
    assert by_arm["base"].overall == 0.3333 and by_arm["matched"].overall == 0.5
    assert by_arm["matched"].against["base"].delta == 0.0
    assert by_arm["oracle"].overall == by_arm["oracle"].routed == 1.0


def test_too_few_tasks_for_an_interval_are_said_to_be() -> None:
    text = "\n".join(lines(2, (("matched", 0), ("matched", 1))))
    assert "no interval" in text and "matched           –" in text


def test_the_oracles_lead_is_called_an_upper_bound() -> None:
    assert lines(4)[-1].startswith("oracle: the better of two noisy scores")
