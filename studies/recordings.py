"""Drift in other people's recordings: verdicts on every line, by fifths of the dialogue.

    git clone https://github.com/abdulhaim/consistent-LLMs FOLDER
    python studies/recordings.py FOLDER/*/exp/*dialogues/*.json > rows.jsonl

The dialogues are those of Abdulhai et al. 2025 (arXiv:2511.00222). No licence was seen, so nothing
of them is kept here. For every judged line there is a recorded verdict, YES where it contradicts
its speaker's background. Asked is whether judges without a model agree with it:

    drafted     what `personas draft` makes of the background, on the line (`Draft.whole`)
    embedding   cosine of the line and the background, all-MiniLM-L6-v2 (its judge `alike` uses it)
    words       rival: share of the line's own words that the background has
    tf-idf      rival: cosine of weighted words, with the weights of the file's lines

as the area under the curve (AUC) of consistent against contradicting lines: .5 is chance. Intervals
are 95%, from 1,000 samples of dialogues with replacement.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from holdfast import judge
from holdfast.core.errors import PersonaError
from holdfast.core.stats import auc
from holdfast.evals.consistency.dialogues import Dialogue
from holdfast.evals.consistency.planted import try_rules
from holdfast.evals.consistency.simulated_user import KINDS, find_faults
from holdfast.judge.content.embedding import embed
from holdfast.persona.draft.drafting import draft
from holdfast.persona.every_reply import SPEAKS, only_model_judges

SAMPLES = 1000
FIFTHS = 5
JUDGES = ("drafted", "embedding", "words", "tf-idf")
# The patient who gets better, in the line and in the recorded reason.
BETTER = re.compile(
    r"\b(?:progress|grateful|gratitude|thankful|thank you|proud|hope(?:ful)?|confiden\w+|relie\w+|"
    r"heal\w*|growth|growing|improv\w+|better|stronger|lighter|accept(?:ance|ing)?|"
    r"looking forward|excited|embrac\w+|celebrat\w+|learn(?:ing|ed) to|starting to|"
    r"open(?:ing)? up)\b",
    re.IGNORECASE,
)
REASON = re.compile(
    r"\b(?:progress|grow\w*|improv\w+|positive\w*|willing\w*|open(?:ness)?|gratitude|grateful|"
    r"confiden\w+|hope\w*|optimis\w+|recover\w*|heal\w*|accept\w*|vulnerab\w+|self-(?:awareness|"
    r"compassion|improvement|reflection))\b",
    re.IGNORECASE,
)
FITS = re.compile(r"\baligns?\b|\baligned\b|\bconsistent with\b", re.IGNORECASE)
AGAINST = re.compile(
    r"(?<!not )\bcontradict|n[o']t (?:fully |entirely |necessarily |directly )?align|inconsisten|"
    r"misalign|conflict|however|but\b",
    re.IGNORECASE,
)


@dataclass
class Line:
    """A judged line."""

    dialogue: int
    fifth: int
    prompt: str
    text: str
    contradicts: bool
    better: bool
    reason_better: bool
    doubtful: bool
    """The reason says that the line fits, and the verdict that it does not."""


def read(path: Path) -> tuple[list[Line], Counter[str], list[Dialogue]]:
    """The lines with a verdict, what was left out, and the second speaker's dialogues."""
    lines: list[Line] = []
    omissions: Counter[str] = Counter()
    dialogues: list[Dialogue] = []
    for number, one in enumerate(json.loads(path.read_text(encoding="utf-8"))):
        texts = {i: _strip_speaker(text) for i, text in one["conversation"]}
        dialogues.append(_dialogue(path, number, one, texts))
        for i, verdict in one.get("eval_prompt_consistency", []):
            yes, no = (bool(re.search(rf"\b{word}\b", verdict)) for word in ("YES", "NO"))
            if yes == no:
                omissions["both" if yes else "neither"] += 1
                continue
            # P1 speaks first, and the lines of both are numbered through.
            prompt = one["P1"] if (i % 2 == 0) == (one["pturn"] == 1) else one["P2"]
            lines.append(
                Line(
                    number,
                    i * FIFTHS // len(texts),
                    prompt.strip('"'),
                    texts[i],
                    yes,
                    bool(BETTER.search(texts[i])),
                    yes and bool(REASON.search(verdict)),
                    yes and bool(FITS.search(verdict)) and not AGAINST.search(verdict),
                )
            )
    return lines, omissions, dialogues


def _strip_speaker(text: str) -> str:
    return re.sub(r"^\w+: ", "", text.strip())


def _dialogue(path: Path, number: int, one: dict, texts: dict[int, str]) -> Dialogue:
    first = 0 if one["pturn"] == 1 else 1
    turns = tuple(
        ("assistant" if i % 2 == first else "user", text) for i, text in sorted(texts.items())
    )
    return Dialogue(f"{path.stem} {number}", turns, None, one["P2"].strip('"'))


def scores(lines: Sequence[Line]) -> dict[str, np.ndarray]:
    """What each judge gives each line."""
    judges = {prompt: _draft_judge(prompt) for prompt in {one.prompt for one in lines}}
    by_judge: dict[str, list[float]] = {name: [] for name in JUDGES}
    weights = _weights([one.text for one in lines])
    vectors = embed([one.text for one in lines])
    prompts = {prompt: embed([prompt])[0] for prompt in judges}
    for one, vector in zip(lines, vectors, strict=True):
        words, theirs = _words(one.text), _words(one.prompt)
        score = judges[one.prompt]
        by_judge["drafted"].append(math.nan if score is None else score(one.text).value)
        by_judge["embedding"].append(float(vector @ prompts[one.prompt]))
        by_judge["words"].append(len(words.keys() & theirs.keys()) / max(1, len(words)))
        by_judge["tf-idf"].append(_cosine(words, theirs, weights))
    return {name: np.array(values) for name, values in by_judge.items()}


def _draft_judge(prompt: str) -> judge.Judge | None:
    """The judge of a background; None where nothing in it can be judged in a line."""
    try:
        whole = draft(prompt).whole
    except PersonaError:
        return None
    return None if whole.judge == SPEAKS or only_model_judges(whole) else judge.build(whole.judge)


def _words(text: str) -> Counter[str]:
    return Counter(word[:6] for word in re.findall(r"[^\W_]{4,}", text.lower()))


def _weights(texts: Sequence[str]) -> dict[str, float]:
    counts = Counter(word for text in texts for word in _words(text))
    return {word: math.log(len(texts) / n) for word, n in counts.items()}


def _cosine(one: Counter[str], other: Counter[str], weights: dict[str, float]) -> float:
    def size(words: Counter[str]) -> float:
        return math.sqrt(sum((n * weights.get(word, 0.0)) ** 2 for word, n in words.items()))

    dot = sum(n * other[word] * weights.get(word, 0.0) ** 2 for word, n in one.items())
    length = size(one) * size(other)
    return dot / length if length else 0.0


def interval(
    statistic: Callable[[np.ndarray], float], groups: np.ndarray, seed: int = 0
) -> tuple[float, float]:
    """95% interval of a statistic of rows, from samples of their dialogues."""
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    values = []
    for _ in range(SAMPLES):
        chosen_groups = rng.integers(len(rows), size=len(rows))
        value = statistic(np.concatenate([rows[i] for i in chosen_groups]))
        if not math.isnan(value):
            values.append(value)
    if len(values) < SAMPLES / 2:
        return math.nan, math.nan
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def area(values: np.ndarray, contradicts: np.ndarray) -> Callable[[np.ndarray], float]:
    """The AUC of some rows: a consistent line above a contradicting one."""

    def statistic(rows: np.ndarray) -> float:
        rows = rows[~np.isnan(values[rows])]
        labels = ~contradicts[rows]
        if labels.all() or not labels.any():
            return math.nan
        return float(auc(values[rows], labels.tolist()))

    return statistic


def format_number(value: float, bounds: tuple[float, float]) -> str:
    """A number with its interval."""
    if math.isnan(value):
        return "–"
    return f"{value:.2f} [{bounds[0]:.2f}, {bounds[1]:.2f}]".replace("0.", ".").replace("-", "−")


def agreement(lines: Sequence[Line], values: dict[str, np.ndarray]) -> Iterator[str]:
    """The cells of a row of AUCs."""
    contradicts = np.array([one.contradicts for one in lines])
    groups = np.array([one.dialogue for one in lines])
    for name in JUDGES:
        statistic = area(values[name], contradicts)
        yield format_number(statistic(np.arange(len(lines))), interval(statistic, groups))
    clear = np.flatnonzero([not one.doubtful for one in lines])
    statistic = area(values["embedding"][clear], contradicts[clear])
    yield format_number(statistic(np.arange(len(clear))), interval(statistic, groups[clear]))


def by_fifths(lines: Sequence[Line]) -> Iterator[str]:
    """The cells of contradictions by fifth, and the change with its interval."""
    for fifth in range(FIFTHS):
        own = [one.contradicts for one in lines if one.fifth == fifth]
        yield f"{np.mean(own):.2f}".removeprefix("0") if own else "–"
    yield format_number(*_change(lines, np.array([one.contradicts for one in lines], float)))


def _change(lines: Sequence[Line], values: np.ndarray) -> tuple[float, tuple[float, float]]:
    """The mean of the last fifth minus that of the first."""
    fifths = np.array([one.fifth for one in lines])

    def statistic(rows: np.ndarray) -> float:
        first, last = rows[fifths[rows] == 0], rows[fifths[rows] == FIFTHS - 1]
        if not len(first) or not len(last):
            return math.nan
        return float(values[last].mean() - values[first].mean())

    groups = np.array([one.dialogue for one in lines])
    return statistic(np.arange(len(lines))), interval(statistic, groups)


def better(lines: Sequence[Line]) -> Iterator[str]:
    """The cells of the change, and of its parts: more lines that speak of getting better, the rest.

    With w the share of such lines in a fifth, and r their contradictions less those of the others,

        change = (w₅ - w₁) r + rest
    """
    yes = np.array([one.contradicts for one in lines], float)
    speaks = np.array([one.better for one in lines])
    fifths = np.array([one.fifth for one in lines])
    groups = np.array([one.dialogue for one in lines])

    def parts(rows: np.ndarray) -> tuple[float, float]:
        first, last = rows[fifths[rows] == 0], rows[fifths[rows] == FIFTHS - 1]
        with_, without = rows[speaks[rows]], rows[~speaks[rows]]
        if not all(map(len, (first, last, with_, without))):
            return math.nan, math.nan
        gap = yes[with_].mean() - yes[without].mean()
        more = float((speaks[last].mean() - speaks[first].mean()) * gap)
        return more, float(yes[last].mean() - yes[first].mean()) - more

    for fifth in (0, FIFTHS - 1):
        yield f"{speaks[fifths == fifth].mean():.2f}".removeprefix("0")
    yield f"{yes[speaks].mean():.2f}".removeprefix("0")
    yield f"{yes[~speaks].mean():.2f}".removeprefix("0")
    yield format_number(*_change(lines, yes))
    for part in (0, 1):
        value = parts(np.arange(len(lines)))[part]
        yield format_number(value, interval(lambda rows, part=part: parts(rows)[part], groups))
    reasons = np.array([one.reason_better for one in lines], float)
    yield format_number(*_change(lines, yes * reasons))
    yield format_number(*_change(lines, yes * (1 - reasons)))


def _shorten(one: Dialogue, rounds: int = 10) -> Dialogue:
    return replace(one, turns=one.turns[: 2 * rounds])


def measure(path: Path) -> dict[str, list[str]] | None:
    """The rows of a file, by table; None where its verdicts are not of both kinds."""
    lines, omissions, dialogues = read(path)
    if len({one.contradicts for one in lines}) < 2:
        return None
    values = scores(lines)
    rows = {"file": [path.parts[-4], path.stem]}
    rows["lines"] = [
        str(len(dialogues)),
        str(len({one.prompt for one in lines})),
        str(len(lines)),
        f"{omissions['neither']} + {omissions['both']}",
        f"{np.mean([one.contradicts for one in lines]):.2f}".removeprefix("0"),
        str(sum(one.doubtful for one in lines)),
        str(int((~np.isnan(values["drafted"])).sum())),
    ]
    rows["auc"] = list(agreement(lines, values))
    rows["fifths"] = list(by_fifths(lines))
    if path.parts[-4] == "therapy":
        rows["better"] = list(better(lines))
    shorter = [_shorten(one) for one in dialogues]
    faults, totals = find_faults(shorter)
    rows["user"] = [f"{sum(f.kind == kind for f in faults)} of {totals[kind]}" for kind in KINDS]
    trials = try_rules(shorter, faults)
    for kind in ("assistant", "persona"):
        one = trials.get(kind)
        rows["user"].append(f"{one.seen} of {one.of}" if one else "–")
    return rows


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(name, file=sys.stderr, flush=True)
        print(json.dumps(measure(Path(name)), ensure_ascii=False), flush=True)
