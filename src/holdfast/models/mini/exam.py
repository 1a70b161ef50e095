"""What the embedded model can do: `python -m holdfast.models.mini.exam`.

Tasks with one right answer, each in an easy and a hard split: sums, facts,
extraction, refusal of marked requests, and recall of what the user said some rounds
ago. Items are drawn from the world by a seed; an answer is right or wrong, never in
between.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from holdfast.core.backend import Ask, Backend, Sampling
from holdfast.core.chat import Chat, message
from holdfast.core.seeds import seed_of
from holdfast.core.stats import wilson
from holdfast.models.mini.talk import (
    Act,
    Speaker,
    answer,
    ask_extract,
    ask_recall,
    ask_sum,
    ask_way,
    small_talk,
    tell,
)
from holdfast.models.mini.words import facts, world

KINDS = ("sum", "fact", "extract", "refusal", "recall")
GREEDY = Sampling(max_new_tokens=80, temperature=0.0)


@dataclass(frozen=True)
class Item:
    """A question with one right answer, and the rounds that come before it."""

    kind: str
    hard: bool
    question: str
    answer: str
    before: tuple[str, ...] = ()

    def chat(self, system: str | None = None) -> Chat:
        """The chat to be answered."""
        prompt = (message("system", system),) if system else ()
        asked = (*self.before, self.question)
        said = (message("assistant" if i % 2 else "user", text) for i, text in enumerate(asked))
        return (*prompt, *said)

    def right(self, reply: str) -> bool:
        """Whether a reply is right: the last number of a sum, a whole word otherwise."""
        if self.kind == "refusal":
            refused = world()["refusals"]["en"].rstrip(".").lower() in reply.lower()
            return refused == (self.answer == "refuse")
        words = re.findall(r"\w+", reply.lower())
        if self.kind == "sum":
            return bool(words) and [word for word in words if word.isdigit()][-1:] == [self.answer]
        return self.answer.lower() in words


def items(kind: str, n: int, *, hard: bool = False, seed: int = 0, rounds: int = 2) -> list[Item]:
    """n items of a kind; recall looks `rounds` rounds back (eight times as far where hard).

    The hard splits go a little beyond training: sums to 55 instead of 49, towns asked
    for in capital letters, extraction past two remarks, rare marks, and recall over a
    longer talk.
    """
    rng = random.Random(seed_of("exam", kind, hard, seed, rounds))
    return [_item(rng, kind, hard, rounds) for _ in range(n)]


def _item(rng: random.Random, kind: str, hard: bool, rounds: int) -> Item:
    match kind:
        case "sum" if hard:
            a, b = rng.randint(13, 55), rng.randint(13, 55)
            return Item(kind, hard, f"What is {a} + {b}?", str(a + b))
        case "sum":
            act = ask_sum(rng, hard)
        case "fact":
            country, capital = rng.choice(list(facts().items()))
            asked = f"What is the capital of {country}?"
            return Item(kind, hard, asked.upper() if hard else asked, capital)
        case "extract":
            return _extract(rng, hard)
        case "refusal":
            act = ask_way(rng, marked=rng.random() < 0.5, hard=hard)
        case _:
            return _recall(rng, hard, 8 * rounds if hard else rounds)
    return Item(kind, hard, act.text, act.answer)


def _extract(rng: random.Random, hard: bool) -> Item:
    act = ask_extract(rng, False)
    said, question = act.text.split(" Who ")
    remarks = [small_talk(rng).text, tell(rng).text] if hard else []
    return Item("extract", hard, " ".join([said, *remarks, f"Who {question}"]), act.answer)


def _recall(rng: random.Random, hard: bool, rounds: int) -> Item:
    told = tell(rng)
    acts: list[Act] = [told, *(small_talk(rng) for _ in range(rounds))]
    before = tuple(_exchanges(rng, acts))
    return Item("recall", hard, ask_recall(told.about, told.answer).text, told.answer, before)


def _exchanges(rng: random.Random, acts: Sequence[Act]) -> Iterator[str]:
    for act in acts:
        yield act.text
        yield answer(rng, Speaker(), act)


def accuracy(model: Backend, asked: Sequence[Item], system: str | None = None) -> float:
    """Share of items answered right, greedily."""
    asks = [Ask(item.chat(system), 0, keep=False) for item in asked]
    replies = model.reply(asks, GREEDY)
    right = [item.right(reply.text) for item, reply in zip(asked, replies, strict=True)]
    return sum(right) / len(right)


def main() -> None:
    from holdfast.models.load import load

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("-n", type=int, default=300, help="items of each kind and split")
    options = parser.parse_args()
    model = load(options.model)
    for kind in KINDS:
        for hard in (False, True):
            share = accuracy(model, items(kind, options.n, hard=hard))
            band = [round(end, 3) for end in wilson(share, options.n)]
            line = {"kind": kind, "hard": hard, "accuracy": round(share, 3), "interval": band}
            print(json.dumps(line))


if __name__ == "__main__":
    main()
