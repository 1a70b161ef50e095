"""Options of several commands that no library function takes, in groups (see `.flatten`).

Where a command means something else by an option it declares its own, beside its function.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from holdfast.core.errors import HoldfastError
from holdfast.core.settings import option
from holdfast.models.template_options import read_template_option, warn_of_unread

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from holdfast.core.backend import Backend
    from holdfast.persona.draft.drafting import Draft
    from holdfast.persona.suite import Persona

S = TypeVar("S", bound="DataclassInstance")
Model = Annotated[
    str, typer.Option(help="mini, a folder, a GGUF file, a hub id, ollama:NAME, api:NAME.")
]
LocalModel = Annotated[str, typer.Option(help="mini, a folder or a hub id.")]
TaskJudge = Annotated[
    str | None, typer.Option("--judge-model", help="A model for tasks that only a model can judge.")
]
Context = Annotated[
    int | None, typer.Option(help="Tokens that an API's model can see, where known.")
]
Verify = Annotated[
    str | None,
    typer.Option(help="neutral: what is written under a persona is checked without it."),
]

Seed = Annotated[int, typer.Option(help="Decides everything that is drawn.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]

Plan = Annotated[
    bool, typer.Option("--plan", help="Print what the command will take, and do nothing.")
]


@dataclass(frozen=True, kw_only=True)
class TemplateOptions:
    """Whose chat template renders a model's chats, and how."""

    base: str | None = option(None, "The model that the folder of an adapter goes onto.")
    template_option: tuple[str, ...] = option(
        (), "An option of the chat template, as in enable_thinking=false (repeat)."
    )

    def template_options(self) -> dict[str, Any]:
        """The options of the chat template, by name."""
        return dict(map(read_template_option, self.template_option))


@dataclass(frozen=True, kw_only=True)
class LocalOptions(TemplateOptions):
    """How a model on this machine is loaded."""

    dtype: str = option("auto", "auto, float32, bfloat16 or float16.")
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps…")

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of what loads a model by its name; those not given are left out."""
        more: dict[str, Any] = {"base": self.base} if self.base else {}
        if template := self.template_options():
            more["options"] = template
        return {"dtype": self.dtype, "device": self.device, **more}

    def open(self, name: str) -> Backend:
        """The model of that name."""
        from holdfast.models.load import BEHIND_URL, import_local, load
        from holdfast.models.ollama_store import OLLAMA

        if name.startswith(BEHIND_URL):
            return self._reach(name)
        # Commands without other models need the weights.
        weights = import_local(name).load if name.startswith(OLLAMA) else load
        backend: Backend = weights(name, **self.arguments())
        warn_of_unread(name, backend, self.template_options())
        if self.dtype == "auto" and name != "mini":
            print(getattr(backend, "format_line", ""), file=sys.stderr, flush=True)
        return backend

    def _reach(self, name: str, **arguments: Any) -> Backend:
        """The model of that name, which a server answers for."""
        from holdfast.models.load import load

        if template := self.template_options():
            arguments["template_options"] = template
        return load(name, **arguments)


@dataclass(frozen=True, kw_only=True)
class ModelOptions(LocalOptions):
    """How models on this machine and models behind an API are reached."""

    base_url: str | None = option(None, "Where api: models are served (OpenAI's protocol).")
    api_key: str | None = option(
        None, "Its key; better in OPENAI_API_KEY, which no process list shows."
    )
    concurrency: int = option(8, "Requests to an API in flight.")

    def open(self, name: str, **limits: Any) -> Backend:
        """The model of that name; `limits` are more arguments of an API's client."""
        from holdfast.models.load import BEHIND_URL, SERVERS

        if not name.startswith(SERVERS):
            return super().open(name)
        here = {"dtype": self.dtype, "device": self.device}  # of weights that a control may need
        return self._reach(
            name,
            base_url=self.base_url,
            api_key=self.api_key,
            concurrency=self.concurrency,
            **({} if name.startswith(BEHIND_URL) else here),
            **limits,
        )

    def require_use(self, *names: str | None, **of_api: object) -> None:
        """Refuse an option that none of a command's models would take notice of.

        Args:
            names: the models; None where an option names none.
            of_api: more options of models behind an API; None where they are not given.
        """
        from holdfast.models.load import BEHIND_URL, SERVERS, VLLM

        models = [name for name in names if name is not None]
        loaded = any(not name.startswith(BEHIND_URL) for name in models)
        served = any(name.startswith(SERVERS) for name in models)
        api = ("base_url", "api_key", "concurrency", *of_api)
        uses = dict.fromkeys(api, served)
        uses |= {"dtype": loaded, "device": loaded, "template_option": bool(models)}
        uses["base"] = any(not name.startswith((*SERVERS, VLLM)) for name in models)
        usual = ModelOptions()
        own = {one.name: getattr(self, one.name) for one in fields(self)}
        changed_options = [name for name, value in own.items() if value != getattr(usual, name)]
        changed_options += [name for name, value in of_api.items() if value is not None]
        for name in changed_options:
            if not uses[name]:
                of = "behind an API, as api:NAME" if name in api else "that Holdfast loads itself"
                raise HoldfastError(
                    f"`{name}` is for models {of}, and none is named: leave it out."
                )


@dataclass(frozen=True, kw_only=True)
class OtherModels:
    """The models beside the agent's in a conversation."""

    user_model: str | None = option(None, "Another model for the user's side.")
    """The model of the user's side; by default the agent's."""
    judge_model: str | None = option(None, "A model for personas that a rubric judges.")


@dataclass(frozen=True, kw_only=True)
class DraftOptions:
    """Which models help to draft personas."""

    judge_model: str | None = option(
        None, "A model that will judge: what no rule can judge becomes a rubric."
    )
    author_model: str | None = option(
        None, "A model that writes probes and examples where rules cannot."
    )

    @property
    def rubrics(self) -> bool:
        """Whether a model judges what no rule can."""
        return self.judge_model is not None

    def author(self, models: ModelOptions) -> Backend | None:
        """The model that writes, if one is named."""
        return models.open(self.author_model) if self.author_model else None


@dataclass(frozen=True, kw_only=True)
class PersonaSource:
    """What personas are made from, in place of a file of them."""

    prompt: str | None = option(
        None,
        "A system prompt, or @FILE with one: its personas are drafted from what it demands. In "
        "drift, compare and explain, --persona FILE puts the personas of a file under it instead.",
    )
    card: Path | None = option(
        None, "A character card (JSON, PNG or CHARX): its personas are drafted likewise."
    )

    def into(
        self, settings: S, field: str = "persona", *, rubrics: bool = False, probed: bool = True
    ) -> S:
        """The settings with the drafted personas, those of a file under the prompt, or as they are.

        Args:
            settings: a command's settings.
            field: the field that personas go into.
            rubrics: whether a model judges what no rule can.
            probed: whether every persona is probed; of recorded replies the result names the gaps.
        """
        value = getattr(settings, field)
        if field == "persona" and value is not None and self.prompt is not None and not self.card:
            from holdfast.persona.files import text_or_file
            from holdfast.persona.suite import Suite, load_suite

            suite = value if isinstance(value, Suite) else load_suite(value)
            return replace(settings, **{field: suite.under(text_or_file(self.prompt))})
        result = self.draft(value, rubrics=rubrics)
        if result is None:
            return settings
        if probed:
            _print_gaps((), result.gaps())
        return replace(settings, **{field: result.suite})

    def as_one(self, file: str | None) -> Persona | None:
        """The persona of a log or of traffic, None where none is named; its gaps are printed.

        Args:
            file: FILE or FILE:ID, in place of the prompt or the card.
        """
        from holdfast.persona.every_reply import as_one, name_judged, name_unjudged
        from holdfast.persona.suite import load_suite

        if draft := self.draft(file):
            suite = draft.suite
        elif file is not None:
            suite = load_suite(file)
        else:
            return None
        persona = as_one(suite, str(file))
        _print_gaps(name_judged(suite), name_unjudged(suite))
        return persona

    def draft(self, own_personas: object = None, *, rubrics: bool = False) -> Draft | None:
        """The draft of the prompt or the card, None where neither is named; said on standard error.

        Args:
            own_personas: personas that another option names, which leaves no room for these.
            rubrics: whether a model judges what no rule can.
        """
        if self.prompt is None and self.card is None:
            return None
        if own_personas is not None or (self.prompt is not None and self.card is not None):
            raise HoldfastError("give one of --prompt, --card, and a file of personas.")
        from holdfast.persona.cards.card import read_card
        from holdfast.persona.cards.persona import draft_card
        from holdfast.persona.draft.drafting import draft
        from holdfast.persona.files import text_or_file
        from holdfast.report.words import quantity

        if self.prompt is not None:
            result = draft(text_or_file(self.prompt), rubrics=rubrics)
            ignored: tuple[str, ...] = ()
        else:
            assert self.card is not None
            result, character = draft_card(read_card(self.card), rubrics=rubrics)
            ignored = character.ignored
        print(f"drafted {quantity(len(result.demands), 'persona')}", file=sys.stderr)
        if ignored:
            print(f"left out of the card: {'; '.join(ignored)}", file=sys.stderr)
        return result


def _print_gaps(judged: Sequence[str], gaps: Sequence[str]) -> None:
    if judged:
        print(f"judged by: {'; '.join(judged)}", file=sys.stderr)
    if gaps:
        print(f"not judged: {'; '.join(gaps)}", file=sys.stderr)


@dataclass(frozen=True, kw_only=True)
class SharingOptions:
    """Where the batches of a run are done."""

    ray: str | None = option(
        None, "Do the batches on a Ray cluster: auto, or its head's HOST:PORT."
    )
    shard: str | None = option(
        None, "Do this part of the batches only: 2/8. Without it again, they are merged."
    )


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """Whether to say what a run takes in place of running it."""

    plan: bool = option(
        False, "Print tokens and time, estimated from one measured step, and stop.", "--plan"
    )


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where results go."""

    out: Path | None = option(None, "Folder of the run; the same command resumes it.")
    """Folder of the run; without one nothing is written."""
    as_json: bool = option(False, "Print the summary as JSON.", "--json")
