"""What `holdfast fidelity` records and finds: answers, grades, scores, and what failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from holdfast.core.backend import Sampling
from holdfast.core.records import inline_field, optional_field
from holdfast.results.interval import Interval


@dataclass(frozen=True)
class FidelityManifest:
    """What determines the records of either protocol."""

    command: str
    version: str
    """Version of Holdfast."""
    model: Mapping[str, Any]
    """The model as its backend describes it."""
    judges: tuple[Mapping[str, Any], ...]
    """The judge models likewise."""
    samples: int
    """Answers drawn for each question."""
    seed: int
    """Decides everything that is drawn."""
    sampling: Sampling
    """How answers are drawn."""


@dataclass(frozen=True)
class SuiteManifest(FidelityManifest):
    """What determines the records of a suite."""

    personas: tuple[Mapping[str, Any], ...]
    """The personas in full."""


@dataclass(frozen=True)
class QuestionnaireManifest(FidelityManifest):
    """What determines the records of a questionnaire."""

    personas: tuple[str, ...]
    """Descriptions of the people that questions are generated for."""
    questions: tuple[Mapping[str, Any], ...]
    """The questionnaires in full, where they are not generated."""
    author: Mapping[str, Any] | None
    """The model that writes questions and example answers, where any are written."""
    examples: bool
    """Whether judges see an example answer for every grade."""
    n: int | None
    """Questions of each task at most."""
    calls: int
    """Calls of each judge for an answer."""
    prompt: str
    """The system prompt; {persona} is the description."""


@dataclass(frozen=True)
class SuiteAnswer:
    """An answer to a persona's own probe."""

    persona: str
    """Id of the persona."""
    probe: int
    """Index of the probe."""
    arm: Literal["own", "none"]
    """`own` under the persona's prompt, `none` without it."""
    sample: int
    """Index of the sample."""
    text: str = ""
    stop: str = ""
    """Why it ended."""
    thought: str | None = optional_field()
    """What the model thought before it; never judged."""

    @property
    def key(self) -> tuple[str, int, str, int]:
        """What identifies it."""
        return self.persona, self.probe, self.arm, self.sample


@dataclass(frozen=True)
class SuiteVerdict:
    """A judge model's score of an answer to a probe."""

    answer: tuple[str, int, str, int]
    """Key of the answer."""
    judge: str
    """Name of the judge model."""
    value: float
    """The score, from 0 to 1."""
    why: str
    """The judge's reason."""
    failures: int
    """Calls that gave no score."""
    calls: int


@dataclass(frozen=True)
class QuestionnaireAnswer:
    """An answer to a question of a questionnaire."""

    step: Literal["answer"]
    """Which kind of record this is."""
    persona: str
    """Description of the person."""
    task: str
    question: int
    """Index of the question in its task."""
    sample: int
    """Index of the sample."""
    text: str = ""
    stop: str = ""
    """Why it ended."""
    thought: str | None = optional_field()
    """What the model thought before it; never judged."""

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What identifies it."""
        return self.persona, self.task, self.question, self.sample


@dataclass(frozen=True)
class WrittenTexts:
    """What the author model wrote in reply to one request."""

    step: Literal["settings", "questions", "examples"]
    """What was asked for."""
    persona: str
    """Description of the person."""
    place: str
    """The task, or the task and the question's index; empty for settings."""
    written: tuple[str, ...] | None
    """The texts; None where the request failed twice."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies it."""
        return self.step, self.persona, self.place


@dataclass(frozen=True)
class QuestionnaireVerdict:
    """A judge model's grades of an answer to a question."""

    answer: tuple[str, str, int, int]
    """Key of the answer."""
    judge: str
    """Name of the judge model."""
    grades: tuple[int | None, ...]
    """The grade of each call; None where a call gave none."""
    score: float
    """Mean of the grades; a call without one counts as the lowest."""
    why: str
    """The judge's reason."""


@dataclass(frozen=True, kw_only=True)
class WeakestAnswer:
    """A persona's answer with the lowest score."""

    task: str | None = optional_field()
    """Its task, in a questionnaire."""
    question: str
    """What was asked."""
    text: str
    score: float
    why: str
    """The judge's reason."""
    prompt: str
    """The persona's prompt, or its description."""


@dataclass(frozen=True)
class PersonaFidelity:
    """The score of a persona."""

    persona: str
    """Its id, or its description."""
    score: float | None
    """Mean over its tasks."""
    by_task: Mapping[str, float]
    """Mean score in each task that it has."""
    answer: WeakestAnswer | None = optional_field()


@dataclass(frozen=True)
class PersonaScores:
    """PersonaScore: the mean over personas of the mean over their tasks."""

    score: float | None
    interval: Interval
    """Its 95% interval over personas."""
    std: float | None
    """Standard deviation over personas."""
    by_task: Mapping[str, float]
    """Mean over the personas that have the task, by task."""
    by_task_interval: Mapping[str, Interval]
    by_task_personas: Mapping[str, int]
    personas: int
    answers: int
    rows: tuple[PersonaFidelity, ...]


@dataclass(frozen=True, kw_only=True)
class SuiteDetails:
    """What a suite's run adds to its scores."""

    scale: tuple[int, int] = (0, 1)
    """Lowest and highest score."""
    floor: float | None
    """The score of the same probes without the system prompt."""
    floor_interval: Interval
    """Its 95% interval over personas."""
    floor_by_task: Mapping[str, float]
    parse_failures: int
    """Calls of judge models that gave no score."""
    judge_calls: int
    """Calls of judge models."""
    failed_replies: int
    """Replies that did not fit or failed."""
    empty_replies: int
    cut_replies: int = 0
    """Replies that the token limit cut; they are judged as they stand."""
    replies: int = 0
    """Replies that were asked for, those without a persona's prompt too."""
    protocol: str = "suite"


@dataclass(frozen=True)
class JudgeScores:
    """The scores of one judge."""

    score: float | None
    interval: Interval
    """Its 95% interval over personas."""
    by_task: Mapping[str, float]
    """The score by task."""


@dataclass(frozen=True, kw_only=True)
class QuestionnaireDetails:
    """What a questionnaire's run adds to its scores."""

    scale: tuple[int, int]
    """Lowest and highest grade."""
    by_judge: Mapping[str, JudgeScores]
    parse_failures: int
    """Calls of judges that gave no grade."""
    judge_calls: int
    """Calls of judges."""
    score_parsed: float | None
    """The score without answers for which a call gave no grade: what the failures cost."""
    answers_parsed: int
    """Answers for which every call gave a grade."""
    example_failures: int
    """Questions for which no example answers could be written."""
    failed_replies: int
    """Replies that did not fit or failed."""
    empty_replies: int
    cut_replies: int = 0
    """Replies that the token limit cut; they are judged as they stand."""
    replies: int = 0
    """Replies that were asked for, those without a persona's prompt too."""
    protocol: str = "questionnaire"
    question_failures: int
    """Requests for questions that failed."""


@dataclass(frozen=True, kw_only=True)
class FidelitySummary:
    """What `holdfast fidelity --json` prints."""

    model: str
    command: str | None
    """The command line."""
    scores: PersonaScores = inline_field()
    """Scores by task and by persona."""
    details: SuiteDetails | QuestionnaireDetails = inline_field()
    """What the protocol adds."""
    judges: tuple[str, ...]
    """Names of the judge models."""
    samples: int
    """Answers drawn for each question."""
    seed: int
    """Decides everything that is drawn."""
    seconds: float
    """Wall time of the run."""
    note: str | None
    """What to know of the model."""
    report: str | None
    """The page, where one was written."""
