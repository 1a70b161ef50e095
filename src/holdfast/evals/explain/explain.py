"""Why a persona drifts: what its share of attention and the model's own vectors do by round.

Li et al. (arXiv:2402.10962) say that the attention given to the system prompt decays, and
that a conversation opens directions which the prompt did not span. Both are measured here
on the conversations of a drift run, under each control:

    share       π of the probe's answer by layer and head, as the control left it, beside what
                plain attention would have given the same queries, and beside dilution: the
                prompt's tokens over all tokens in view
    dimension   of the value vectors in view (`vectors`), beside conversations without a
                persona and beside shuffled tokens
    score       the judge's; and whether the two go with it across conversations (`association`)

A correlation across conversations is no cause: share, length and difficulty hang together.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast import report
from holdfast.core.backend import Backend, Sampling
from holdfast.core.control import NONE, Control, parse
from holdfast.core.errors import ControlError, ModelError
from holdfast.core.progress import Progress
from holdfast.core.records import Record, as_record
from holdfast.core.run import Run
from holdfast.evals.conversation.batches import ConversationRun, converse
from holdfast.evals.conversation.controlled import (
    ControlledPlan,
    default_side_by_side,
    hold_under_controls,
)
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.conversation.rounds import SelfChat
from holdfast.evals.conversation.settings import ConversationProtocol, ConversationSettings, Pairs
from holdfast.evals.conversation.setup import check, draw_cast, manifest, setting
from holdfast.evals.explain import value_vectors as vectors
from holdfast.evals.explain.summary import PLAIN, SHUFFLED, Lanes, account
from holdfast.evals.explain.value_vectors import DRAWS
from holdfast.models.notes import NOTES
from holdfast.persona.suite import Suite
from holdfast.report.explain.findings import findings
from holdfast.results.conversation import RoundRecord
from holdfast.results.verdict import JudgeVerdict

if TYPE_CHECKING:
    from holdfast.models.local.backend import LocalBackend

CONTROLS = ("none", "split-softmax:0.7", "anchor")


@dataclass(frozen=True)
class Explanation:
    """What was measured. `summary` is the object that `holdfast explain --json` prints."""

    summary: Record

    @property
    def findings(self) -> list[str]:
        """What it comes to, a sentence each."""
        return list(self.summary["findings"])


def explain(
    model: Backend,
    *,
    controls: Sequence[str | Control] = CONTROLS,
    suite: Suite | str | Path | None = None,
    persona: Suite | str | Path | None = None,
    agents: Sequence[str] = (),
    users: Sequence[str] = (),
    topic: str | None = None,
    pairs: Pairs = 12,
    rounds: int = 8,
    seed: int = 0,
    runs: int = 2,
    sampling: Sampling | None = None,
    user_model: Backend | None = None,
    judge_model: Backend | None = None,
    out: Path | str | None = None,
    command: str | None = None,
    progress: Progress | None = None,
) -> Explanation:
    """Measure what goes with drift; what the command `holdfast explain` does.

    `none` is always among the controls, and the first. The rest is as in `drift`; with `out`
    the run is a folder that can be resumed and holds the page. Raises `ModelError` for a
    model whose attention cannot be seen, and HoldfastError for what else the user can mend.
    """
    local = _local(model)
    wanted = tuple(dict.fromkeys([NONE, *map(parse, controls)]))
    if why := next((why for control in wanted if (why := model.refusal(control))), None):
        raise ControlError(why)
    side = default_side_by_side(len(wanted))
    p = ConversationProtocol(
        rounds=rounds,
        seed=seed,
        runs=runs,
        sampling=sampling or Sampling(),
        filler=False,
        history_floor=False,
        user_persona=False,
        batch=side * len(wanted),
    )
    settings = ConversationSettings(
        suite=suite,
        persona=persona,
        agents=tuple(agents),
        users=tuple(users),
        topic=topic,
        pairs=pairs,
        seed=seed,
    )
    cast = draw_cast(settings, model)
    base = cast.conversations
    check(model, judge_model, base, p)
    chat = SelfChat(model, user_model or model, p)
    described = as_record(manifest("explain", chat, base, cast.suite.name, judge_model, wanted))
    described |= {"controls": [control.text for control in wanted], "draws": DRAWS}
    run = Run(out, described, RoundRecord, JudgeVerdict)
    plan = ControlledPlan(base, wanted)
    shown, began = progress or Progress(enabled=False), time.monotonic()
    talks = hold_under_controls(chat, plan, run, shown, judge_model)
    lanes = Lanes(plan, p.rounds, run.records, talks)
    plain = _without_personas(chat, base, side, run, described, shown)
    sets, counts, refusal = _sets(local, lanes, plain, run, described, shown)
    page = run.folder / "report.html" if run.folder else None
    summary: Record = {
        **as_record(setting(chat, base, cast.suite.name)),
        "command": command,
        **account(lanes, sets, counts),
        "dimension_refusal": refusal,
        "seconds": round(time.monotonic() - began, 1),
        "note": NOTES.get(model.name),
        "report": str(page) if page else None,
    }
    summary["findings"] = findings(summary)
    run.finish(summary)
    if page:
        report.write_explain(summary, page)
    return Explanation(summary)


def _local(model: Backend) -> LocalBackend:
    """The model, if it runs here and its attention can be seen."""
    if model.local:
        from holdfast.models.local.backend import LocalBackend

        if isinstance(model, LocalBackend):
            if model.share_refusal:
                raise ModelError(f"{model.name} cannot be explained: {model.share_refusal}.")
            return model
    raise elsewhere(model.name)


def elsewhere(name: str) -> ModelError:
    """What to say of a model that does not run on this machine."""
    return ModelError(
        f"{name} cannot be explained: attention and value vectors are read on this machine, so "
        "name a model that runs here."
    )


def _without_personas(
    chat: SelfChat,
    base: Sequence[Conversation],
    side: int,
    run: ConversationRun,
    described: Mapping[str, Any],
    shown: Progress,
) -> dict[int, list[str]]:
    """The turns of the same conversations where neither side has a system prompt."""
    bare = [
        replace(c, agent=replace(c.agent, prompt=""), user=replace(c.user, prompt=""), floor=False)
        for c in base
    ]
    p = replace(chat.protocol, runs=1, measure=False, batch=side)
    folder = run.folder / "without" if run.folder else None
    held = Run(folder, {**described, "personas": None}, RoundRecord, JudgeVerdict)
    converse(replace(chat, protocol=p), bare, held, shown)
    return {c.id: vectors.said(held.records, c.id) for c in bare}


def _sets(
    model: LocalBackend,
    lanes: Lanes,
    plain: Mapping[int, Sequence[str]],
    run: ConversationRun,
    described: Mapping[str, Any],
    shown: Progress,
) -> tuple[list[Record], dict[str, int], str | None]:
    """The dimensions of every set of every conversation, with the equal numbers of vectors.

    Where values cannot be read there are none, and the sentence that says why.
    """
    try:
        model.forget()
        tokens = {
            c.id: vectors.in_view(model, c, lanes.said(0, c.id), NONE)
            for c in lanes.plan.conversations
        }
        first, second = ([n[i] for n in tokens.values() if len(n) > i] for i in (0, 1))
        counts = {"few": int(min(first)), "many": int(min(second, default=0))}
        held = Run(run.folder / "vectors" if run.folder else None, {**described, "counts": counts})
        there = {(r["set"], r["conversation"]) for r in held.records}
        names = [*map(str, lanes.plan.controls), PLAIN, SHUFFLED]
        with shown.of(len(names) * len(lanes.plan.conversations)):
            for k, name in enumerate(names):
                for c in lanes.plan.conversations:
                    shown.advance(1, 0)
                    if (name, c.id) in there:
                        continue
                    model.forget()
                    if name == PLAIN:
                        bare = replace(c, agent=replace(c.agent, prompt=""))
                        made = vectors.first_of(model, bare, plain[c.id], tokens[c.id], counts)
                    elif name == SHUFFLED:
                        turns = lanes.said(0, c.id)
                        made = vectors.shuffled(model, c, turns, tokens[c.id], counts)
                    else:
                        made = vectors.own(
                            model, c, lanes.said(k, c.id), lanes.plan.controls[k], counts
                        )
                    held.append([{"set": name, "conversation": c.id, **made}])
    except ModelError as error:
        return [], {}, str(error)
    return held.records, counts, None
