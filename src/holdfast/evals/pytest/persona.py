"""Does a model or a function hold a persona? As an assertion of a test.

`assert_holds` is a short drift run without the arms that compare: agents under the persona, probed
after every round. A test fails where the mean over rounds 1 to R is below a threshold; its message
has the curve and the worst conversation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.core.backend import Backend
from holdfast.core.errors import HoldfastError, PersonaError, ServiceError, shorten
from holdfast.core.stats import mean
from holdfast.evals.compare.intervals import by_conversation
from holdfast.evals.conversation.judging import scores
from holdfast.evals.drift import DriftResult, DriftSettings, drift
from holdfast.evals.pytest.callable_model import CallableBackend, NeutralUsers
from holdfast.models.load import load
from holdfast.persona.draft.drafting import draft
from holdfast.persona.files import find_in_folder, text_or_file
from holdfast.persona.suite import Persona, Suite, load_suite
from holdfast.report.words import number
from holdfast.results.conversation import JudgedAnswer, JudgedConversation

Model = Backend | str | Callable[..., Any]
"""A model, its name as `--model` takes it, or a function from messages to text."""
BARE = {"filler": False, "history_floor": False, "user_persona": False, "measure": False}
"""Settings that leave out what an assertion does not read."""
LINE = 240
"""Characters of a quoted message at most."""
BAR = 20
"""Width of a score of 1."""


@dataclass(frozen=True)
class PersonaUnderTest:
    """Personas whose hold on a model a test asserts."""

    suite: Suite
    """The personas."""

    @classmethod
    def read(
        cls,
        source: Suite | Persona | str | Path | None = None,
        *,
        prompt: str | None = None,
        folder: Path | None = None,
    ) -> PersonaUnderTest:
        """Personas from a file, a suite or a prompt.

        Args:
            source: A TOML file, FILE:ID, a built-in suite, or the objects themselves.
            prompt: A system prompt, or @ and a file with one. Alone, its personas are drafted
                (`holdfast personas draft`); with `source`, it takes the place of their prompts, so
                that a test reads the prompt from where the application does.
            folder: Where relative paths are looked up first; then from the working folder.

        Raises:
            PersonaError: There is no such file, or nothing in the prompt can be judged.
        """
        text = None if prompt is None else text_or_file(_prompt_beside(prompt, folder))
        if source is None:
            if text is None:
                raise PersonaError("name personas: a TOML file, a suite, or prompt=TEXT.")
            return cls(draft(text).suite)
        if isinstance(source, Persona):
            suite = Suite(source.id, (source,))
        elif isinstance(source, Suite):
            suite = source
        else:
            suite = load_suite(
                str(source) if folder is None else find_in_folder(str(source), folder)
            )
        return cls(suite if text is None else suite.under(text))

    def assert_holds(
        self,
        model: Model,
        *,
        min_stability: float = 0.8,
        rounds: int = 4,
        pairs: int = 8,
        runs: int = 2,
        seed: int = 0,
        user_model: Model | None = None,
        judge_model: Model | None = None,
        concurrency: int = 1,
        out: Path | str | None = None,
        **settings: Any,
    ) -> DriftResult:
        """Fail unless the model holds the personas over some rounds.

        Args:
            model: What is tested: a model, its name as `--model` takes it, or a function from
                messages (`[{"role", "content"}, …]`, the persona's prompt first) to text.
            min_stability: The mean score over rounds 1 to `rounds` that must be reached.
            rounds: Rounds of each conversation.
            pairs: Conversations, each with another user; 8 see large falls only.
            runs: Answers drawn at each point.
            seed: Decides who meets whom, and the tokens of a model on this machine.
            user_model: Speaks for the users. By default the model itself; where that is a
                function, which need not play other parts, users say neutral sentences.
            judge_model: Judges personas whose judge is a rubric.
            concurrency: Calls of a function at once.
            out: Folder of the run, with its page; by default nothing is written.
            **settings: Other fields of `DriftSettings`, such as `suite` or `control`.

        Returns:
            The result of the run.

        Raises:
            AssertionError: The personas did not hold; with the curve and the worst conversation.
            HoldfastError: The run failed.
        """
        __tracebackhide__ = True
        if not 0 < min_stability <= 1:
            raise HoldfastError(f"min_stability is above 0 and at most 1, not {min_stability}")
        agent, users, judge = (
            None if one is None else _backend(one, concurrency)
            for one in (model, user_model, judge_model)
        )
        if users is None and isinstance(agent, CallableBackend):
            users = NeutralUsers(self.suite.fillers or load_suite("core").fillers)
        fields = {"rounds": rounds, "pairs": pairs, "runs": runs, "seed": seed, **settings}
        result = drift(
            agent,
            DriftSettings(persona=self.suite, **(BARE | fields)),
            user_model=users,
            judge_model=judge,
            out=out,
        )
        outcome = Hold.of(result, rounds)
        if outcome.stability < min_stability:
            raise AssertionError(outcome.message(min_stability))
        return result


def _prompt_beside(prompt: str, folder: Path | None) -> str:
    """A prompt; where it is @ and a file of the folder, with the folder before the file."""
    if folder is None or not prompt.startswith("@"):
        return prompt
    return f"@{find_in_folder(prompt[1:], folder)}"


def _backend(model: Model, concurrency: int) -> Backend:
    if isinstance(model, str):
        return load(model)
    if hasattr(model, "reply"):
        return model  # type: ignore[return-value]
    return CallableBackend(model, concurrency=concurrency)


@dataclass(frozen=True)
class Hold:
    """How well a run's personas held."""

    result: DriftResult
    """The run."""
    conversation_scores: tuple[float, ...]
    """Scores by conversation, mean over rounds 1 to R; NaN where nothing was measured."""
    stability: float
    """Their mean."""

    @classmethod
    def of(cls, result: DriftResult, rounds: int) -> Hold:
        """From a run; raises `ServiceError` where answers failed."""
        failures = result.summary.costs.failures.error
        if failures:
            errors = (
                answer.why
                for one in result.conversations
                for at in one.rounds
                for answer in at.probes
                if answer.stop == "error"
            )
            why = next(errors, "a turn failed")
            raise ServiceError(
                f"{failures} replies could not be had, so nothing was measured: {why}"
            )
        values = by_conversation(scores(result.conversations, "own", rounds + 1)[:, 1:])
        stability = float(mean(values))
        if np.isnan(stability):
            raise HoldfastError("no conversation reached round 1: the context is too small.")
        return cls(result, tuple(values.tolist()), stability)

    def message(self, least: float) -> str:
        """Why the assertion fails."""
        return "\n".join(self._lines(least))

    def _lines(self, least: float) -> Iterator[str]:
        curves, setting = self.result.summary.curves, self.result.summary.setting
        ids = list(dict.fromkeys(one.agent.id for one in self.result.conversations))
        names = ids[0] if len(ids) == 1 else f"{len(ids)} personas"
        yield (
            f"{names} did not hold: stability {number(self.stability)} over rounds 1 to "
            f"{setting.rounds}, below {number(least)} ({setting.conversations} conversations with "
            f"{setting.model})"
        )
        for r, (value, (low, high)) in enumerate(
            zip(curves.stability, curves.interval, strict=True)
        ):
            bar = "█" * round(BAR * (value or 0))
            yield f"  round {r:>2}  {number(value)} [{number(low)}, {number(high)}]  {bar}"
        worst = int(np.nanargmin(self.conversation_scores))
        yield ""
        yield from _transcript(self.result.conversations[worst], self.conversation_scores[worst])


def _transcript(conversation: JudgedConversation, score: float) -> Iterator[str]:
    yield f"worst conversation ({conversation.agent.id}, stability {number(score)}):"
    yield f"  system: {_quote(conversation.agent.prompt)}"
    for at in conversation.rounds:
        if at.user is not None:
            yield f"  user:   {_quote(at.user)}"
            yield f"  agent:  {_quote(at.agent or '')}"
        yield from (_probe(at.round, one) for one in at.probes if one.arm == "own")


def _probe(at: int, answer: JudgedAnswer) -> str:
    return (
        f"    asked after round {at}: {_quote(answer.probe)} → {_quote(answer.answer)} "
        f"scores {number(answer.score)} ({_quote(answer.why)})"
    )


def _quote(text: str) -> str:
    return shorten(text, LINE)
