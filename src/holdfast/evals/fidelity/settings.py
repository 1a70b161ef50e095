"""The settings of `holdfast fidelity`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.core.errors import HoldfastError
from holdfast.core.settings import changed_settings, option
from holdfast.evals.fidelity.questionnaire import Questionnaire
from holdfast.evals.tasks.settings import TaskSampling
from holdfast.persona.suite import Suite

PROMPT = (  # PersonaGym's, as its appendix and its code have it
    "Adopt the identity of {persona}. Answer the questions while staying in strict accordance with "
    "the nature of this identity."
)
GENERATE = "generate"
"""The value of `questions` for which an author model writes them."""
CALL = "call of a judge"
"""What is counted where judges' calls are."""


@dataclass(frozen=True, kw_only=True)
class QuestionnaireSettings:
    """How PersonaGym's protocol is run."""

    personas: str | Path | None = option(
        None,
        "With generate: a text file, a description on each line.",
        parse=str,
        metavar="TEXT",
    )
    questions_per_task: int | None = option(None, "Questions of each task at most.")
    people: int | None = option(None, "Draw so many persons.")
    calls: int = option(2, "Calls of each judge for an answer.")
    """Calls of each judge for an answer; they take turns between the orders of the rubric."""
    examples: bool = option(True, "Show judges an example answer for every grade.")
    prompt: str = PROMPT
    """The system prompt; {persona} is the description."""

    def check(self) -> None:
        """Raise `HoldfastError` for a prompt or a number that cannot be."""
        if "{persona}" not in self.prompt:
            raise HoldfastError("the prompt has no {persona}, where the description is to stand.")
        for number, what in (
            (self.calls, CALL),
            (self.questions_per_task, "question of each task"),
            (self.people, "person"),
        ):
            if number is not None:
                check_count(number, what)


_OF_A_QUESTIONNAIRE = ("questions_per_task", "people", "calls", "examples")


def check_count(number: int, what: str) -> None:
    """Raise `HoldfastError` for a number below 1; `what` names one of what is counted."""
    if number < 1:
        raise HoldfastError(f"at least 1 {what} is needed, not {number}.")


@dataclass(frozen=True, kw_only=True)
class FidelitySettings:
    """What is asked, and how often."""

    suite: Suite | str | Path | None = option(
        None, "core, mini, a TOML file or a folder of them.", parse=str, metavar="TEXT"
    )
    """Personas whose own probes are asked; by default mini for mini, else core."""
    category: tuple[str, ...] = option((), "Only personas of this category (repeat).")
    questions: str | Path | Sequence[Questionnaire] | None = option(
        None,
        "PersonaGym's tasks: a folder of JSON files, or “generate”.",
        parse=str,
        metavar="TEXT",
    )
    """PersonaGym's tasks in place of a suite: a folder, "generate", or questionnaires."""
    samples: int = option(1, "Answers drawn for each question.")
    seed: int = option(0, "Decides everything that is drawn.")
    questionnaire: QuestionnaireSettings = field(default_factory=QuestionnaireSettings)
    """How PersonaGym's protocol is run."""
    sampling: TaskSampling = field(default_factory=TaskSampling)
    """How answers are drawn."""

    def check(self) -> None:
        """Raise `HoldfastError` for what cannot be, and for an option that nothing would read."""
        check_count(self.samples, "sample of each answer")
        self.questionnaire.check()
        if self.questionnaire.personas is not None and str(self.questions) != GENERATE:
            raise HoldfastError(
                "`personas` is for `questions` generate, which has questions written for them: "
                "add that, or leave it out (personas of a TOML file go with `suite`)."
            )
        if self.questions is None:
            unread = changed_settings(self.questionnaire, *_OF_A_QUESTIONNAIRE)
            where = "is for a questionnaire: name one with `questions`, or leave it out."
        else:
            unread = changed_settings(self, "suite", "category")
            where = "is about personas with their own probes: leave it or `questions` out."
        if unread:
            raise HoldfastError(f"{unread[0]} {where}")
