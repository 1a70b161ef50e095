"""The settings of `holdfast prism train` and `holdfast prism eval`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holdfast.core.backend import Sampling
from holdfast.core.errors import HoldfastError
from holdfast.core.settings import option, require_at_least, with_default
from holdfast.evals.tasks.settings import form_option

PROMPT_ARMS = ("base", "no system", "matched", "other", "router")
"""Arms of an evaluation that differ in the prompt."""
ADAPTER_ARMS = ("always", "prism", "every turn", "random")
"""Arms that differ in where the adapter is on; prism comes before random, which takes its rate."""
ARMS = (*PROMPT_ARMS, *ADAPTER_ARMS, "oracle")
"""All arms; the oracle gives no replies of its own."""


@dataclass(frozen=True, kw_only=True)
class PrismSettings:
    """What queries are asked and how the adapter is trained."""

    personas: str | Path | None = option(
        None, "core, mini, or a TOML file of [[expert]] tables.", parse=str, metavar="TEXT"
    )
    """Source of the personas (`load_experts`); by default mini's own for mini, else core."""
    queries: int = option(50, "Queries written for each persona.")
    """Queries written for each persona, or tasks of each category at most."""
    tasks: str | Path | None = option(
        None,
        "Take queries from here instead: core, mini (its default), exercises:train, FILE; none.",
        parse=str,
        metavar="TEXT",
    )
    """Source of the queries (`load_tasks`); "none" has the model write them."""
    form: str | None = form_option()
    """Said after each question of the tasks; None is the source's own (`FORMS`), "" nothing."""
    seed: int = option(0, "Decides everything that is drawn.")
    temperature: float = option(0.7, "Temperature of queries and answers.")
    max_new_tokens: int = option(512, "Tokens of an answer at most.")
    epochs: int | None = option(None, "Times that the adapter sees every win: 10, or 20 if small.")
    rank: int = option(16, "Rank of the adapter.")
    """Rank of the adapter, whose α is twice that."""
    learning_rate: float | None = option(
        None, "Learning rate of the adapter: 2e-4, or 2e-3 if the model is small."
    )
    top: int = option(0, "Teacher's tokens in the KL; 0 is all.")
    """Tokens of the teacher that the KL is taken over, the most probable ones; 0 is all."""
    trial: bool = option(True, "Stop where nearly all of the first answers are cut.")
    batch: int = 16
    """Wins in a step of the distillation."""

    def check(self) -> None:
        """Raise HoldfastError for a number that cannot be used."""
        require_at_least(1, self, "queries", "epochs", "rank", "batch")
        require_at_least(0, self, "top")
        if self.learning_rate is not None and not 0 < self.learning_rate < float("inf"):
            raise HoldfastError(f"`learning_rate` is above 0, not {self.learning_rate:g}.")
        _ = self.sampling

    @property
    def sampling(self) -> Sampling:
        """How queries and answers are drawn."""
        return Sampling(self.max_new_tokens, self.temperature, top_p=1.0)


@dataclass(frozen=True, kw_only=True)
class PrismEvalSettings:
    """What the arms are asked, and how they answer."""

    tasks: str | Path | None = option(
        None,
        "core, exercises, mini, mmlu, gsm8k, math-500, or a JSONL or TOML file.",
        parse=str,
        metavar="TEXT",
    )
    """Source of the tasks (`load_tasks`); by default mini's own for mini, else core."""
    form: str | None = form_option()
    """Said after each question of the tasks; None is the source's own (`FORMS`), "" nothing."""
    tasks_per_category: int | None = option(None, "Tasks of each category at most.")
    samples: int = option(3, "Times that each task is asked.")
    seed: int = option(0, "Decides everything that is drawn.")
    max_new_tokens: int = with_default(Sampling, "max_new_tokens", 512)
    temperature: float = with_default(Sampling, "temperature", 1.0)
    top_p: float = with_default(Sampling, "top_p", 0.9)

    def check(self) -> None:
        """Raise HoldfastError for a number that cannot be used."""
        require_at_least(1, self, "samples", "tasks_per_category")
        _ = self.sampling

    @property
    def sampling(self) -> Sampling:
        """How replies are drawn."""
        return Sampling(self.max_new_tokens, self.temperature, self.top_p)
