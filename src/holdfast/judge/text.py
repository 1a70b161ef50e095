"""Judges of a reply's surface: its case, its length, how it starts and ends, what it contains.

Matching ignores upper and lower case unless `case = true`, treats curly and
straight quotes alike, any run of white space as one space, and looks through
Markdown emphasis unless the wanted text itself contains such marks.

Source of the rescaling: raw shares of upper- or lower-case letters give ordinary
prose a high score (98% of its letters are lower case), so that a curve made of
them cannot fall. Here share s becomes (s - base) / (1 - base), with the base that
ordinary English prose has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cached_property

from holdfast.judge.params import Params
from holdfast.judge.parts import EACH, LIST_MARKER, UNITS, lines, plain, sentences, straight, words
from holdfast.judge.score import Judge, Score, quote, score_within, share, verdict
from holdfast.judge.spoken import write_values
from holdfast.judge.stated import is_set_aside

_SMALL_WORDS = (
    "a an and as at but by for from if in into nor of on or over per so the to up via vs "
    "with yet off upon than"
)
_MINOR = frozenset(_SMALL_WORDS.split())
_STAGE_DIRECTION = re.compile(r"\A\s*(?:\*(?!\*)[a-z][^*\n]{1,60}\*|\([a-z][^()\n]{1,60}\))\s+")
_OPENING = re.compile(r"^[\s\W_]+")


def case(params: Params) -> Judge:
    """Share of letters or words in the wanted case, rescaled so that prose scores about 0."""
    to = params.one_of("to", ("upper", "lower", "title"))
    params.refuse_unknown()
    return {"upper": _upper, "lower": _lower, "title": _title}[to]


def _upper(text: str) -> Score:
    letters = [c for c in text if c.isupper() or c.islower()]
    if not letters:
        return Score(0.0, "no letters to judge")
    part = sum(c.isupper() for c in letters) / len(letters)
    return Score(max(0.0, (part - 0.08) / 0.92), f"{part:.0%} of letters are capitals")


def _lower(text: str) -> Score:
    """Prose capitalises sentence starts, "I" and names: those are the chances to slip."""
    tokens = [w for w in words(text) if w.lower() != w.upper()]
    if not tokens:
        return Score(0.0, "no letters to judge")
    capital = sum(w != w.lower() for w in tokens)
    starts = [words(sentence)[0] for sentence in sentences(text)]
    pronouns = sum(map(_is_i, tokens))
    chances = max(len(starts) - sum(map(_is_i, starts)) + pronouns, len(tokens) / 8, 1)
    return Score(
        1 - min(1.0, capital / chances), f"{capital} of {len(tokens)} words have a capital"
    )


def _is_i(word: str) -> bool:
    return word.lower() == "i" or word.lower().startswith(("i'", "i’"))


def _title(text: str) -> Score:
    """First words of sentences are capital in any case, so they tell nothing."""
    inner = [word for sentence in sentences(text) for word in words(sentence)[1:]]
    major = [w for w in inner if w[0].isalpha() and w.lower() not in _MINOR]
    if not major:
        return Score(0.0, "too few words to judge")
    good = sum(w[0].isupper() and (len(w) == 1 or not w.isupper()) for w in major)
    why = f"{good} of {len(major)} major words within sentences begin with a capital"
    return Score(max(0.0, (good / len(major) - 0.25) / 0.75), why)


def length(params: Params) -> Judge:
    """1 inside the bounds; outside, 1 minus the relative distance, or 0 where `strict`."""
    unit = params.one_of("unit", UNITS)
    each = params.one_of("each", EACH, "reply")
    strict = params.flag("strict", False)
    low, high = params.bounds()
    params.refuse_unknown()

    def fit(count: int) -> float:
        value = score_within(count, low, high) if count else 0.0
        return float(value == 1.0) if strict else value

    def judge(text: str) -> Score:
        counts = [len(UNITS[unit](part)) for part in EACH[each](text)]
        if not counts:
            return Score(0.0, f"no {each} to judge")
        value = sum(map(fit, counts)) / len(counts)
        figures = ", ".join(str(n) for n in counts[:12]) + (", …" if len(counts) > 12 else "")
        return Score(value, f"{figures} {unit}, wanted {_bounds(low, high)}")

    return judge


def _bounds(low: int | None, high: int | None) -> str:
    if low == high:
        return f"exactly {low}"
    if high is None:
        return f"at least {low}"
    return f"at most {high}" if low is None else f"{low} to {high}"


class Target:
    """One wanted piece of text as a pattern, and which view of the reply it is sought in.

    A star at its end stands for any end of the word: "paint*" is found in "painted". Patterns are
    made when a reply first needs them: a suite has ten thousand targets, and most replies few.
    """

    def __init__(self, text: str, whole_word: bool, cased: bool) -> None:
        self.text = text
        phrase = straight(text).strip()
        stem = len(phrase) > 2 and phrase[-1] == "*" and phrase[-2].isalnum()
        phrase = phrase.removesuffix("*") if stem else phrase
        self.marked = plain(phrase) != phrase
        self.is_number = phrase.replace(".", "").isdecimal() and len(phrase) > 1
        self.body = r"\s+".join(re.escape(piece) for piece in phrase.split())
        self.front = r"(?<!\w)" if whole_word and _wordish(phrase[0]) else ""
        self.back = r"(?!\w)" if whole_word and _wordish(phrase[-1]) and not stem else ""
        self.part = max(phrase.split(), key=len).casefold()
        self.flags = 0 if cased else re.IGNORECASE
        self.starts_wordish, self.ends_wordish = _wordish(phrase[0]), _wordish(phrase[-1])

    @cached_property
    def anywhere(self) -> re.Pattern[str]:
        """It at any place."""
        return re.compile(self.front + self.body + self.back, self.flags)

    @cached_property
    def opens(self) -> re.Pattern[str]:
        """It where a match begins."""
        return re.compile(self.body + self.back, self.flags)

    @cached_property
    def closes(self) -> re.Pattern[str]:
        """It at the end."""
        return re.compile(self.front + self.body + r"\Z", self.flags)

    def view(self, text: str) -> str:
        """The reply as this target sees it."""
        return straight(text) if self.marked else plain(text)

    def at_start(self, text: str) -> bool:
        """True where the text opens with it, past markup, quotes, bullets, emoji and "*nods*"."""
        return self._opens(text) or self._opens(_STAGE_DIRECTION.sub("", text))

    def _opens(self, text: str) -> bool:
        bare = self.view(text).strip()
        if self.opens.match(bare):
            return True
        bare = LIST_MARKER.sub("", bare, count=1)
        bare = _OPENING.sub("", bare) if self.starts_wordish else bare.lstrip("\"' ([")
        return bool(self.opens.match(bare))

    def at_end(self, text: str) -> bool:
        """True where the text closes with it, before closing punctuation, quotes and emoji."""
        bare = self.view(text).strip()
        if self.closes.search(bare):
            return True
        bare = _without_closing(bare) if self.ends_wordish else bare.rstrip("\"' )]")
        return bool(self.closes.search(bare))


def _without_closing(text: str) -> str:
    """The text up to its last letter or digit; a regular expression would take quadratic time."""
    end = len(text)
    while end and not text[end - 1].isalnum():
        end -= 1
    return text[:end]


def _wordish(char: str) -> bool:
    return char.isalnum() or char == "_"


def occurrences(targets: Sequence[Target], text: str) -> list[int]:
    """How often each of the targets occurs, a number also as it is said ("two-oh-nine")."""
    numbers = [target.text for target in targets if target.is_number]
    views = [straight(text), plain(text), write_values(plain(text), numbers)]
    folded_views = [view.casefold() for view in views]
    kinds = [2 if target.is_number else 0 if target.marked else 1 for target in targets]
    return [
        len(target.anywhere.findall(views[n])) if target.part in folded_views[n] else 0
        for target, n in zip(targets, kinds, strict=True)  # the plain search rules most out
    ]


def _targets(params: Params, texts: tuple[str, ...], whole: bool | None) -> list[Target]:
    """`whole` None: single letters match as prefixes or suffixes, longer texts as whole words."""
    cased = params.flag("case", False)
    return [Target(t, len(t.strip()) > 1 if whole is None else whole, cased) for t in texts]


def _take_texts(params: Params, *keys: str) -> tuple[str, tuple[str, ...]]:
    key = params.exactly_one(*keys)
    for other in keys:
        params.take(other)
    return key, (params.text(key),) if key == "text" else params.texts(key)


def _edge(params: Params, hit: Callable[[Target, str], bool], verb: str) -> Judge:
    _, texts = _take_texts(params, "text", "any")
    each = params.one_of("each", EACH, "reply")
    whole = params.flag("whole_word", False) if params.take("whole_word") is not None else None
    targets = _targets(params, texts, whole)
    floor = params.number("floor", 0.0, 0.9) or 0.0
    params.refuse_unknown()

    def judge(text: str) -> Score:
        parts = EACH[each](text)
        good = sum(any(hit(target, part) for target in targets) for part in parts)
        if each == "reply":
            listing = " or ".join(quote(t) for t in texts[:3]) + (" …" if len(texts) > 3 else "")
            return verdict(good == 1, f"it {verb} {listing}", f"it never {verb} {listing}")
        return share(good, len(parts), f"{each}s as wanted", floor)

    return judge


def starts_with(params: Params) -> Judge:
    """1 where the reply starts with one of the texts; with `each`, the share of parts that do."""
    return _edge(params, Target.at_start, "starts with")


def ends_with(params: Params) -> Judge:
    """1 where the reply ends with one of the texts; with `each`, the share of parts that do."""
    return _edge(params, Target.at_end, "ends with")


def contains(params: Params) -> Judge:
    """`text` or `any`: 1 where found `min_count` times; `all`: the fraction of texts found.

    Less is a share, or nothing where `strict`.
    """
    key, texts = _take_texts(params, "text", "any", "all")
    least = params.whole("min_count", 1, low=1)
    strict = params.flag("strict", False)
    targets = _targets(params, texts, params.flag("whole_word", True))
    params.refuse_unknown()

    def judge(text: str) -> Score:
        counts = occurrences(targets, text)
        if key == "all":
            value = sum(min(1.0, n / least) for n in counts) / len(counts)
            missing = [t for t, n in zip(texts, counts, strict=True) if n < least]
            why = f"missing {', '.join(map(quote, missing))}" if missing else "all are there"
            return Score(float(value == 1.0) if strict else value, why)
        present = [t for t, n in zip(texts, counts, strict=True) if n]
        why = f"found {', '.join(map(quote, present))} {sum(counts)}×" if present else "found none"
        value = min(1.0, sum(counts) / least)
        return Score(float(value == 1.0) if strict else value, why)

    return judge


def avoids(params: Params) -> Judge:
    """1 where none of the texts occurs in a reply of at least `min_words` words, else 0.

    Inside a phrase of `besides` a text is not sought: a "gift shop" is no gift.
    """
    texts = params.texts("any")
    phrases = params.texts_or_none("besides")
    exceptions = [Target(phrase, True, False).anywhere for phrase in phrases]
    least = params.whole("min_words", 3)
    targets = _targets(params, texts, params.flag("whole_word", True))
    params.refuse_unknown()

    def judge(text: str) -> Score:
        rest = straight(text)
        for exception in exceptions:
            rest = exception.sub(" ", rest)
        counts = occurrences(targets, rest)
        hits = [target.text for target, n in zip(targets, counts, strict=True) if n]
        if hits:
            return Score(0.0, f"says {', '.join(map(quote, hits))}")
        count = len(words(text))
        return verdict(count >= least, "says none of them", f"only {count} words: evasion")

    return judge


def keywords(params: Params) -> Judge:
    """Share of the reply's words that are keywords, 1 at `share` and above."""
    texts = params.texts("any")
    full = params.number("share", 1e-6, 1.0) or 0.1
    targets = _targets(params, texts, params.flag("whole_word", True))
    params.refuse_unknown()

    def judge(text: str) -> Score:
        total = len(words(text))
        counts = occurrences(targets, text)
        sizes = [max(1, len(words(target.text))) for target in targets]
        hits = sum(n * size for n, size in zip(counts, sizes, strict=True))
        if not total:
            return Score(0.0, "no words to judge")
        return Score(hits / total / full, f"{hits} of {total} words are keywords")

    return judge


_MODES: dict[str, Callable[[str], list[str]]] = {
    "share_of_words": words,
    "share_of_tokens": str.split,
    "share_of_lines": lines,
    "share_of_sentences": sentences,
}


def regex(params: Params) -> Judge:
    """A regular expression: found, matching the whole reply, or found in a share of parts.

    With `stated`, a match that is denied or set aside ("not green", "if it is green") is none.
    """
    stated = params.flag("stated", False)
    mode = params.one_of("mode", ("search", "full", *_MODES), "search")
    flag_letters = params.take("flags") or ""
    cased = params.flag("case", False)
    floor = params.number("floor", 0.0, 0.9) or 0.0
    if not isinstance(flag_letters, str) or set(flag_letters) - set("imsx"):
        params.fail(f"parameter “flags” must be letters out of “imsx”, not {flag_letters!r}")
    expression = params.pattern("pattern", flag_letters if cased else flag_letters + "i")
    params.refuse_unknown()
    if stated and mode != "search":
        params.fail("parameter “stated” goes with mode “search” only")

    def judge(text: str) -> Score:
        if mode in _MODES:
            parts = _MODES[mode](text)
            return share(sum(expression.search(p) for p in parts), len(parts), mode[9:], floor)
        if stated:
            bare = straight(text)
            hit = any(not is_set_aside(bare, *span) for span in expression.spans(bare))
        else:
            hit = expression.fullmatch(text.strip()) if mode == "full" else expression.search(text)
        return verdict(hit, "the pattern matches", "the pattern does not match")

    return judge
