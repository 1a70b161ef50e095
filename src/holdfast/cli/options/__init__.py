"""Options of several commands that no library function takes, in groups (see `.flatten`).

Where a command means something else by an option it declares its own, beside its function.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.core.errors import HoldfastError
from holdfast.core.settings import option

if TYPE_CHECKING:
    from holdfast.core.backend import Backend

Model = Annotated[str, typer.Option(help="mini, a folder, a GGUF file, a hub id, or api:NAME.")]
LocalModel = Annotated[str, typer.Option(help="mini, a folder or a hub id.")]
TaskJudge = Annotated[
    str | None, typer.Option("--judge-model", help="A model for tasks that only a model can judge.")
]
Context = Annotated[
    int | None, typer.Option(help="Tokens that an API's model can see, where known.")
]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps…")]

Verify = Annotated[
    str | None,
    typer.Option(help="neutral: what is written under a persona is checked without it."),
]

Seed = Annotated[int, typer.Option(help="Decides everything that is drawn.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]

Plan = Annotated[
    bool, typer.Option("--plan", help="Print what the training will take, and do nothing.")
]


def read_template_option(text: str) -> tuple[str, Any]:
    """NAME=VALUE as a name and a value: JSON where it is JSON, else the text itself."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise HoldfastError(f"--template-option is NAME=VALUE, not {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


@dataclass(frozen=True, kw_only=True)
class LocalOptions:
    """How a model on this machine is loaded."""

    dtype: str = option("auto", "auto, float32, bfloat16 or float16.")
    """Number format of the weights."""
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps…")
    """Where the model runs."""
    base: str | None = option(None, "The model that the folder of an adapter goes onto.")
    """The model under an adapter, in place of the one that it names."""
    template_option: tuple[str, ...] = option(
        (), "An option of the chat template, as in enable_thinking=false (repeat)."
    )
    """Options of the chat template, as NAME=VALUE."""

    def template_options(self) -> dict[str, Any]:
        """The options of the chat template, by name."""
        return dict(map(read_template_option, self.template_option))

    def open(self, name: str) -> Backend:
        """The model of that name."""
        from holdfast.models.load import load

        more: dict[str, Any] = {"base": self.base} if self.base else {}
        if self.template_option:
            more["options"] = self.template_options()
        backend = load(name, dtype=self.dtype, device=self.device, **more)
        if self.dtype == "auto" and name != "mini":
            print(getattr(backend, "format_line", ""), file=sys.stderr, flush=True)
        return backend


@dataclass(frozen=True, kw_only=True)
class ModelOptions(LocalOptions):
    """How models on this machine and models behind an API are reached."""

    base_url: str | None = option(None, "Where api: models are served (OpenAI's protocol).")
    """Address of the API."""
    api_key: str | None = option(
        None, "Its key; better in OPENAI_API_KEY, which no process list shows."
    )
    """Key of the API."""
    concurrency: int = option(8, "Requests to an API in flight.")
    """Requests to an API in flight."""

    def open(self, name: str, **limits: Any) -> Backend:
        """The model of that name; `limits` are more arguments of an API's client."""
        from holdfast.models.load import API, load

        if name.startswith(API):
            return load(
                name,
                base_url=self.base_url,
                api_key=self.api_key,
                concurrency=self.concurrency,
                **limits,
            )
        return super().open(name)


@dataclass(frozen=True, kw_only=True)
class OtherModels:
    """The models beside the agent's in a conversation."""

    user_model: str | None = option(None, "Another model for the user's side.")
    """The model of the user's side; by default the agent's."""
    judge_model: str | None = option(None, "A model for personas that a rubric judges.")
    """The model that judges where a rubric does."""


@dataclass(frozen=True, kw_only=True)
class SharingOptions:
    """Where the batches of a run are done."""

    ray: str | None = option(
        None, "Do the batches on a Ray cluster: auto, or its head's HOST:PORT."
    )
    """Address of a Ray cluster."""
    shard: str | None = option(
        None, "Do this part of the batches only: 2/8. Without it again, they are merged."
    )
    """The part of the batches that this process does."""


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """Whether to say what a run takes in place of running it."""

    plan: bool = option(
        False, "Print tokens and time, estimated from one measured step, and stop.", "--plan"
    )
    """Measure one step, print what the whole run takes, and do nothing else."""


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where results go."""

    out: Path | None = option(None, "Folder of the run; the same command resumes it.")
    """Folder of the run; without one nothing is written."""
    as_json: bool = option(False, "Print the summary as JSON.", "--json")
    """Print the summary as JSON."""
