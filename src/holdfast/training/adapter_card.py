"""The README.md of an adapter's folder: what it is, how it was trained, loaded and measured.

PEFT saves an empty template there, with the base model's path on the machine that trained it.

This module knows summaries. It knows no models and no trainer.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core.folder import write_whole
from holdfast.core.run import PAGE
from holdfast.core.version import __version__
from holdfast.models.local.gated_adapter import ABOUT
from holdfast.report.words import quantity
from holdfast.results.training.permix import IMITATIONS, PermixSummary
from holdfast.results.training.prism import PrismAbout


@dataclass(frozen=True, kw_only=True)
class AdapterCard:
    """What a card says beside how PEFT loads the adapter; FOLDER is the adapter's folder."""

    base: str
    """Name of the model that was trained, as `--model` takes it."""
    what: str
    """What the adapter is, in a sentence or two."""
    command: str | None
    """The command that trained it; None from Python and in a recipe."""
    training: Sequence[str]
    """How it was trained, a line of a list each."""
    use: str
    """A command that uses it."""
    evaluation: str
    """Where its measurement is or how it is made, in a sentence or two."""


def write_adapter_card(folder: Path, card: AdapterCard) -> None:
    """Write a card into an adapter's folder, in place of what PEFT left there."""
    lines = "\n".join(f"- {line}" for line in card.training)
    by = f"By Holdfast {__version__}"
    command = f"{by}:\n\n    {card.command}\n" if card.command else f"{by}.\n"
    text = f"""---
library_name: peft
---

# Adapter for {card.base}

{card.what}

## Training

{command}
{lines}

## Use

FOLDER is this folder. With Holdfast:

    {card.use}

With PEFT, onto this model or another copy of the same weights:

    import holdfast
    from peft import PeftModel

    base = holdfast.load({card.base!r}).engine.model
    model = PeftModel.from_pretrained(base, "FOLDER")

## Evaluation

{card.evaluation}
"""
    write_whole(folder / "README.md", text)


def prism_card(about: PrismAbout) -> AdapterCard:
    """The card of an adapter with its gate."""
    summary, recipe = about.summary, about.recipe
    personas = ", ".join(persona["id"] for persona in about.personas)
    return AdapterCard(
        base=summary.model,
        what=(
            f"A LoRA (rank {recipe['rank']}) that holds what these personas do to the model's "
            f"answers without a system prompt: {personas}. `gate.safetensors` decides by a "
            "conversation's first message whether it is on; PEFT alone has it always on."
        ),
        command=summary.command,
        training=(
            f"the personas won {summary.wins} of {summary.queries} queries, and the adapter is "
            "distilled from their answers to these",
            f"{quantity(recipe['epochs'], 'epoch')}, {recipe['batch']} answers in a step, peak "
            f"learning rate {recipe['learning_rate']:g}, seed {about.seed}",
        ),
        use=f"holdfast serve --model {shlex.quote(summary.model)} --control prism:FOLDER",
        evaluation=(
            "`holdfast prism eval --adapter FOLDER` measures it beside the model without it. "
            f"`{ABOUT}` has how training went and how well the gate decides."
        ),
    )


def permix_card(summary: PermixSummary, recipe: Mapping[str, Any]) -> AdapterCard:
    """The card of a LoRA, from its training's summary and the trainer's settings."""
    prompts, rollouts = recipe["prompts"], quantity(recipe["rollouts"], "rollout")
    step = (
        f"{prompts * recipe['rollouts']} answers"
        if summary.arm in IMITATIONS
        else f"{quantity(prompts, 'prompt')} with {rollouts} each"
    )
    return AdapterCard(
        base=summary.model,
        what=(
            f"A LoRA (rank {recipe['rank']}) by the arm {summary.arm} of `holdfast permix train`. "
            f"`../{Path(summary.checkpoint).name}` is the same, merged into the model."
        ),
        command=summary.command,
        training=(
            f"{quantity(summary.steps, 'step')} over {quantity(summary.tasks, 'task')} and "
            f"{quantity(summary.personas, 'persona')}, seed {summary.seed}",
            f"{step} in a step, peak learning rate {recipe['learning_rate']:g}",
        ),
        use=f"holdfast robustness --model FOLDER --base {shlex.quote(summary.model)}",
        evaluation=(
            f"`../summary.json` and `../{PAGE}` have the rewards of training. `holdfast "
            "robustness` and `holdfast fidelity` measure the model under personas that it has not "
            "seen."
        ),
    )
