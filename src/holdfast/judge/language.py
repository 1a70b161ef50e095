"""Judges of how a reply sounds: its language, its sentiment, its syllables, its grade level.

- Language: `py3langid`, a fixed naive Bayes model (no seed, no network), over the
  languages it knows best; the reply is judged in pieces of a few words, so that
  half a reply in another language costs half.
- Sentiment: VADER's compound score, the mean over sentences (over a whole reply it
  saturates near 1 for any friendly text). English only.
- Syllables: `holdfast.judge.syllable`, a dictionary and rules. English only.
- Readability: Flesch-Kincaid grade = 0.39 words/sentence + 11.8 syllables/word - 15.59
  (Kincaid et al. 1975).

The libraries are imported at a judge's first use and kept.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from holdfast.judge.content.prose import GLUE
from holdfast.judge.params import Params
from holdfast.judge.parts import EACH, lines, plain, sentences, words
from holdfast.judge.score import Judge, Score, score_within, share
from holdfast.judge.syllable import syllables_of

# Languages that a persona is likely to be asked for; near twins of a larger language
# (Bosnian beside Croatian, Galician beside Portuguese) are left out, as they only blur it.
_CODES = (
    "ar bg bn ca cs cy da de el en eo es et eu fa fi fr ga he hi hr hu hy id is it ja ka ko la lt "
    "lv mt nl no pl pt ro ru sk sl sq sv sw ta te th tl tr uk ur vi zh"
)
LANGUAGES = tuple(_CODES.split())
_PIECE = 6  # words of a piece at least
_SURE = 8  # words whose probabilities are taken as they are
_FEW, _CERTAIN = 3, 0.8  # fewer words tell a language from this probability on
_NEARLY = 0.4  # times the likeliest's probability: from there on a language is as likely
_LONGEST = 250  # words of a sentence whose sentiment is read at once


@lru_cache(maxsize=1)
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(list(LANGUAGES))
    return identifier


@lru_cache(maxsize=4096)
def _probabilities(text: str) -> dict[str, float]:
    return {code: float(p) for code, p in _identifier().rank(text)}


def probability(text: str, language: str) -> float:
    """Probability that `text` is in `language`, an ISO 639-1 code out of `LANGUAGES`."""
    return _probabilities(text)[language]


def language(params: Params) -> Judge:
    """Probability of the language, the mean over pieces of the reply weighted by their length.

    One or two words count where they are certain ("Sehr gut."), and else score 0.
    """
    to = params.one_of("to", LANGUAGES)
    least = params.whole("min_words", 1, low=1)
    params.refuse_unknown()

    def judge(text: str) -> Score:
        pieces = _pieces(text)
        size = sum(map(_size, pieces))
        if size < least:
            return Score(0.0, f"{size} words, too few to tell a language")
        value = sum(_size(p) * _evidence(p, to) for p in pieces) / size
        if size < _FEW and value < _CERTAIN:
            return Score(0.0, f"{size} words, at {value:.0%} {to} too few to tell a language")
        return Score(value, f"{value:.0%} {to}")

    return judge


def _evidence(text: str, language: str) -> float:
    """Probability of the language; function words of another in the majority make it 0.

    Few words tell relatives apart badly: a language that is nearly as likely as the likeliest
    competes with English only, which models drift to.
    """
    if language == "en":
        return probability(text, language)
    if language in GLUE and _in_another(text, GLUE[language]):
        return 0.0
    probabilities = _probabilities(text)
    chance = probabilities[language]
    if _size(text) >= _SURE or chance < _NEARLY * max(probabilities.values()):
        return chance
    return chance / (chance + probabilities["en"])


def _in_another(text: str, own: frozenset[str]) -> bool:
    """True where another language has at least two, and as many, function words in the text."""
    tokens = [word.lower() for word in words(text)]
    least = max(2, sum(token in own for token in tokens))
    return any(sum(token in glue - own for token in tokens) >= least for glue in GLUE.values())


def _size(text: str) -> int:
    """Words, or for scripts without spaces a word for every two letters."""
    wide = sum(c > "\u2e7f" and c.isalpha() for c in text)
    return len(words(text)) + wide // 2


def _pieces(text: str) -> list[str]:
    """Sentences, short ones joined to what follows, until each has a few words."""
    pieces: list[str] = []
    for sentence in sentences(plain(text)):
        if pieces and _size(pieces[-1]) < _PIECE:
            pieces[-1] += " " + sentence
        else:
            pieces.append(sentence)
    if len(pieces) > 1 and _size(pieces[-1]) < _PIECE:
        last = pieces.pop()
        pieces[-1] += " " + last
    return pieces


@lru_cache(maxsize=1)
def _analyzer() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()


def sentiment(params: Params) -> Judge:
    """VADER compound, the mean over sentences: its positive or negative part, or 1 - |mean|."""
    to = params.one_of("to", ("positive", "negative", "neutral"))
    params.refuse_unknown()

    def judge(text: str) -> Score:
        parts = [part for one in sentences(plain(text)) for part in _short(one)]
        if not parts:
            return Score(0.0, "no words to judge")
        scores = [float(_analyzer().polarity_scores(part)["compound"]) for part in parts]
        mean = sum(scores) / len(scores)
        value = {"positive": mean, "negative": -mean}.get(
            to, 1 - sum(map(abs, scores)) / len(scores)
        )
        return Score(max(0.0, value), f"mean sentiment {mean:+z.2f}")

    return judge


def _short(sentence: str) -> list[str]:
    """A sentence, in parts where it is endless: VADER takes the square of its length."""
    tokens = sentence.split()
    if len(tokens) <= _LONGEST:
        return [sentence]
    return [" ".join(tokens[n : n + _LONGEST]) for n in range(0, len(tokens), _LONGEST)]


def syllables(params: Params) -> Judge:
    """Syllables by word, line or reply within bounds, or lines that follow a `pattern`."""
    if params.take("pattern") is not None:
        return _pattern(params)
    per = params.one_of("per", ("word", "line", "reply"), "word")
    low, high = params.bounds()
    floor = params.number("floor", 0.0, 0.9) or 0.0
    params.refuse_unknown()
    split = EACH[per]

    def judge(text: str) -> Score:
        counts = [n for n in map(syllables_of, split(text)) if n]
        if not counts:
            return Score(0.0, "no words to judge")
        if per == "reply":
            return Score(score_within(counts[0], low, high), f"{counts[0]} syllables")
        good = sum((low is None or n >= low) and (high is None or n <= high) for n in counts)
        return share(good, len(counts), f"{per}s as wanted", floor)

    return judge


def _pattern(params: Params) -> Judge:
    feet = params.take("pattern")
    params.refuse_unknown()
    if not isinstance(feet, list) or not feet or not all(type(n) is int and n > 0 for n in feet):
        params.fail("parameter “pattern” must be a list of whole numbers above 0, as [5, 7, 5]")
    pattern = [int(n) for n in feet]

    def judge(text: str) -> Score:
        counts = [n for n in map(syllables_of, lines(text)) if n]
        why = f"syllables by line {', '.join(map(str, counts[:12]))}"
        if len(counts) != len(pattern):
            return Score(0.0, f"{why}; wanted {len(pattern)} lines")
        # One syllable off is within what a count can be wrong by: half a point.
        off = [abs(n - m) for n, m in zip(counts, pattern, strict=True)]
        return Score(sum(max(0.0, 1 - d / 2) for d in off) / len(off), why)

    return judge


def grade(text: str) -> float | None:
    """Flesch-Kincaid grade level, None for a text without words."""
    tokens, parts = words(text), sentences(text)
    if not tokens or not parts:
        return None
    return 0.39 * len(tokens) / len(parts) + 11.8 * syllables_of(text) / len(tokens) - 15.59


def readability(params: Params) -> Judge:
    """1 on the right side of a grade level; outside it falls to 0 over four grades."""
    key = params.exactly_one("grade_max", "grade_min")
    high = params.number("grade_max", -5, 30)
    low = params.number("grade_min", -5, 30)
    least = params.whole("min_words", 5, low=1)
    params.refuse_unknown()

    def judge(text: str) -> Score:
        level = grade(plain(text))
        if level is None or len(words(text)) < least:
            return Score(0.0, f"fewer than {least} words, too few to grade")
        over = (level - (high or 0.0)) if key == "grade_max" else ((low or 0.0) - level)
        return Score(1 - max(0.0, over) / 4, f"grade {level:.1f}")

    return judge
