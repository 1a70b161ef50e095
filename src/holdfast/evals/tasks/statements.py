"""Where a reply states its answer.

    box       \\boxed{…}, braces balanced
    hashes    #### …
    cue       "The answer is …", "Final answer: …", "… is the answer", in a few languages
    opening   a bare number as the first sentence ("18, champ. …"), or "Arr, eighteen it is", and no
              later sentence takes it back or works on from it

The last box counts before the last hashes, these before the last cue, and an opening comes last. A
thought (`models.thinking`) states nothing; one that never ends takes the rest of the reply with it.

This module knows replies. It knows nothing of what is right.
"""

from __future__ import annotations

import re
from functools import reduce
from itertools import pairwise

from holdfast.evals.tasks.numbers import digits
from holdfast.evals.tasks.numbers.spelled import UNITS, read_spelled_numbers
from holdfast.evals.tasks.phrases.marks import SENTENCE
from holdfast.models.thinking import TAGS, split_thought

# Models write thoughts between tags of their own (`TAGS`), and where a prompt asks for others.
_ASKED_FOR = "thinking thought thoughts reasoning reflection scratchpad analysis"
_TAGS = {**TAGS, **{f"<{name}>": f"</{name}>" for name in _ASKED_FOR.split()}}
_OPENERS, _CLOSERS = ("|".join(map(re.escape, tags)) for tags in (_TAGS, _TAGS.values()))
_THOUGHTS = re.compile(rf"(?is)(?:{_OPENERS}).*?(?:{_CLOSERS}|\Z)")
_THOUGHT_END = re.compile(rf"(?i){_CLOSERS}")
_STRIKEOUT = re.compile(r"(?is)~~[^~]{1,400}~~|<(s|del|strike)>.{0,400}?</\1>|<!--.*?(?:-->|\Z)")
# Long runs of blanks would make patterns slow.
_BLANKS = re.compile(r"[ \t\r\f\v]+")
_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")


def drop_thoughts(reply: str) -> str:
    """A reply without its thoughts and what it strikes out; the prompt may open a thought."""
    text = _STRIKEOUT.sub(" ", cut_thoughts(reply))
    return _BLANKS.sub(" ", _LINES.sub("\n\n", text))


def cut_thoughts(reply: str) -> str:
    """A reply without its thoughts, to the letter."""
    split = split_thought(reply)
    text = "" if split.unfinished else _THOUGHTS.sub(" ", split.reply)
    ends = [match.end() for match in _THOUGHT_END.finditer(text)]
    return text[ends[-1] :] if ends else text


_ECHO = 4  # words from which on a repetition of the question is one
_TOKEN = re.compile(r"[^\W_]+")
_CLOSING = re.compile(r"[?.!:\"'”’)*_]*")


def drop_echo(text: str, question: str) -> str:
    """A text without its repetitions of the question, which answer nothing."""
    echo = [one.casefold() for one in _TOKEN.findall(question)]
    if len(echo) < _ECHO:
        return text
    places = list(_TOKEN.finditer(text))
    tokens = [place[0].casefold() for place in places]
    pieces, start, i = list[str](), 0, 0
    while i <= len(tokens) - len(echo):
        if tokens[i] == echo[0] and tokens[i : i + len(echo)] == echo:
            pieces.append(text[start : places[i].start()])
            i += len(echo)
            closing = _CLOSING.match(text, places[i - 1].end())
            start = closing.end() if closing else places[i - 1].end()
        else:
            i += 1
    # From the end, so that a piece between two echoes loses its blanks as one at the end does.
    return reduce(lambda rest, piece: f"{piece} {rest}".strip(" "), pieces[::-1], text[start:])


def thinks_to_the_end(reply: str) -> bool:
    """Whether a reply ends within a thought."""
    last = list(_THOUGHTS.finditer(reply))[-1:]
    unclosed = any(not _THOUGHT_END.search(match[0]) for match in last)
    return unclosed or split_thought(reply).unfinished


def boxes(text: str) -> list[str]:
    """What each `\\boxed{…}` holds, braces balanced; one that never closes holds nothing."""
    return [text[inner.start : inner.stop] for _, inner in _find_box_spans(text)]


def find_box_places(text: str) -> list[range]:
    """Where each `\\boxed{…}` is that is in no other."""
    outer = list[range]()
    for span, _ in _find_box_spans(text):
        outer = [one for one in outer if one.start < span.start] + [span]
    return outer


def _find_box_spans(text: str) -> list[tuple[range, range]]:
    """Each box and what is inside it, in the order in which they close."""
    spans: list[tuple[range, range]] = []
    starts: list[tuple[int, int, int]] = []
    depth = 0
    for match in _BRACES.finditer(text):
        if match[0] == "}":
            depth -= depth > 0
            if starts and starts[-1][0] == depth:
                _, begin, inner = starts.pop()
                spans.append((range(begin, match.end()), range(inner, match.start())))
        else:
            if len(match[0]) > 1:
                starts.append((depth, match.start(), match.end()))
            depth += 1
    return spans


_BRACES = re.compile(r"\\(?:boxed|fbox|framebox)\s*\{|(?<!\\)[{}]")


def read_last_box(text: str) -> str | None:
    """What the last `\\boxed{…}` holds; None where there is none, or it is not closed."""
    contents = boxes(text)
    return contents[-1] if contents else None


_HASHES = re.compile(r"####[ \t]*(\S[^\n]*?)[ \t]*$", re.MULTILINE)
_ONE = r"(?:(?![.!?]+[\"'”’)*_]*\s)[^\n])"  # a character that ends no sentence before another
_NOUN = (
    r"(?:answer|solution(?= is| to| of)|result|réponse|antwort|respuesta|risposta|resposta|"
    r"ergebnis|lösung|résultat|resultado|risultato|答案|答え)"
)
_IS = r"(?:is|are|was|be|would be|will be|must be|should be|comes to|est|ist|es|è|é)\b"
_CUE = re.compile(
    rf"(?i)(?<![\w'’]){_NOUN}(?!\w)[*_`\" ]*"
    r"(?:(?:\([^()\n]{1,40}\)|,[^,.:;!?\n]{1,40},)[*_` ]*)?"
    rf"(?:(?:to|of|for) [^.:;!?\n]{{1,80}}? (?={_IS}))?"
    rf"(?:[:：=]|{_IS}|(?<=答案)是|(?<=答え)は)\s*[:：]?[*_` ]*\s*"
    rf"(?:(?:therefore|thus|then|simply|just|clearly|indeed|now|still|hence)\b,?\s+)?"
    rf"((?:(?![,;] (?:and )?(?:the |my )?{_NOUN}(?!\w)){_ONE})+)"  # up to another cue
)
_HEADING = re.compile(
    rf"(?im)^[^\w\n]{{0,8}}_{{0,2}}(?:(?:the|my) )?(?:final |correct )?{_NOUN}"
    rf"[^\w\n]{{0,8}}\n\s*({_ONE}+)"
)
_IS_THE_ANSWER = re.compile(
    rf"(?i)(?:^|[.!?,:;\n]\s*)(?:so |thus |hence |and |therefore,? )?([^.!?,:;\n]{{1,60}}?) {_IS} "
    r"(?:the|my|our|your|yer|thy) (?:final |correct |right )*(?:answer|solution|result)\b"
)
# "The answer is below." states nothing, nor does "this is my answer".
_NOTHING = re.compile(
    r"(?i)^\W*(?:below|above|here|as follows|the following|easy|simple|clear|obvious|unclear|"
    r"in the|what|this|that|it|such|which|there|not|never|no longer|based|found|given|"
    r"a |an |correct|right|wrong|nicht|pas|no es)\b(?! \d)(?!\s?[).:]?\s?$)"
)
_NOT_BUT = re.compile(r"(?i)^not\b[^.;]{1,60}?(?:,|;|\bbut\b)\s*(?:but\s+)?(?:it is\s+)?(.+)$")
# What a persona exclaims before it answers ("Arr, …", "Yo ho! …").
_CRY = (
    r"(?:(?:a+r+g*h*|aye|aha|ah|oh|o|ho|yo ho(?: ho)?|well|yes|yep|hey|hm+|ahem|right|sure|behold|"
    r"verily|alas|ahoy|beep|boop|woof|meow|hark|lo|why|by [^\W\d_]+)"
    r"(?: [^\W\d_]+){0,2} ?[,!.…:—–-]+\s+)*"
)
_NUMERAL = r"[-−]?[$€£]?[-−]?\d[\d.,]*\d|[-−]?\d"
_IT_IS = re.compile(
    rf"(?i)^[\W_]*?{_CRY}((?:[^\W_][\w-]* ){{0,3}}?[^\W_][\w-]*) (?:it|that) (?:be|is|was)"
    r"(?=\W*(?:\n|$)|[^\w\s'’])"
)
_OPENING = re.compile(
    rf"(?i)^[\W_]*?{_CRY}({_NUMERAL}|(?:(?:{UNITS}|hundred|thousand|and)[ -]?){{1,8}}(?<=\w))"
    r"\s?%?[*_)\]]*"
    r"(?:(?:,\s+[^\W\d_]+(?:\s[^\W\d_]+)?)?\s*(?:[.!…]+|\n)[*_)\]]*(?=\s|$)"
    r"|\s\([^()\n]*\)\s*[.!]?\s*$)"  # "72 (48 in April + 24 in May)"
)
# What takes an opening back, or works on from it: "No, wait: 17.", "So that makes 5."
_RESTATEMENT = re.compile(
    r"(?i)(?:\b(?:thus|therefore|hence|makes?|equals|in all|altogether|actually|correction|sorry|"
    rf"wait|so (?:it|that|the|there|we)|so(?= (?:{_NUMERAL}|{UNITS})\W*$)|no(?=[,:!]))\b|[=:])"
    rf"[^.!?\n]{{0,60}}?\b(?:{_NUMERAL}|{UNITS})(?: [^\W\d_]+)?\W*(?:[.!?\n]|$)"
)
_SECOND_ITEM = re.compile(r"(?m)^\W*2[.)]\s")


def find_statement(text: str) -> str | None:
    """The answer that a text states anywhere, or None; strictly, see `find_strict_answer`."""
    for candidates in (boxes(text), _HASHES.findall(text), find_cued_answers(text)):
        if values := [one.strip() for one in candidates if one.strip()]:
            return values[-1]
    opening = _OPENING.match(text)
    if opening is None and (inversion := _IT_IS.match(text)):
        opening = inversion if digits(inversion[1]) or read_spelled_numbers(inversion[1]) else None
    if opening is None or _SECOND_ITEM.search(text) or _RESTATEMENT.search(text, opening.end()):
        return None
    return opening[1]


def find_cued_answers(text: str) -> list[str]:
    """What follows "the answer is" and the like, in order; "not 17 but 18" gives 18."""
    patterns = (_CUE, _HEADING, _IS_THE_ANSWER)
    cues = [(m.start(1), m[1]) for pattern in patterns for m in pattern.finditer(text)]
    values = []
    for _, value in sorted(set(cues)):
        other = _NOT_BUT.match(value)
        value = other[1] if other else value
        if not _NOTHING.match(value):
            values.append(value.strip())
    return values


def find_statements(text: str) -> list[str]:
    """Every answer that a text states in a box, after hashes or after a cue."""
    return [*find_marked_answers(text), *find_cued_answers(text)]


def find_marked_answers(text: str) -> list[str]:
    """Every answer that a text states in a box or after hashes, where nothing else belongs."""
    return [one.strip() for one in (*boxes(text), *_HASHES.findall(text))]


# --- strictly: where the answer should stand --------------------------------------

_LEAD = re.compile(
    r"(?:^|[.!?:] )[*_]{0,2}(?:(?:So|Thus|Therefore|Hence),? )?"
    r"(?:[Tt]he (?:final |correct )?answer is:?|(?:Final )?[Aa]nswer:|[Ii]t (?:is|was)|[Ii]t's)"
    r"[*_]{0,2} ?"
    r"((?:[A-J][.)] (?=[-−$\\\d]))?(?:(?![.!?]\s+\S).)+)$"
)
_EQUALS = re.compile(r"=\s*((?:(?!=)(?![.!?]\s+\S).)+)$")
_OPTION_LETTER = re.compile(
    r"^\(?\\?(?:text(?:bf)?\{)?\(?[A-J][.)]\)?\}?\s*\\?[ ,]?\s*(?=[-−$\\\d])"
)


def find_strict_answer(reply: str) -> str | None:
    """The answer where it should stand, or None; knows nothing of what is right."""
    text = reply.strip()
    if (box := read_last_box(text)) is not None:
        return _without_letter(box.strip()) or None
    if hashes := _HASHES.findall(text):
        return strip_marks(hashes[-1])
    last = text.splitlines()[-1].strip() if text else ""
    for pattern in (_LEAD, _EQUALS):
        if match := pattern.search(last):
            return strip_marks(match[1])
    whole = _without_letter(text)
    return strip_marks(whole) if whole and len(whole.split()) == 1 else None


def _without_letter(text: str) -> str:
    """Without an option's letter before a number ("A. 70")."""
    return _OPTION_LETTER.sub("", text, count=1)


def strip_marks(text: str) -> str | None:
    """Without an option's letter, what ends a sentence, emphasis and signs around a formula."""
    inner = _without_letter(text.strip().lstrip("*_$ "))
    return inner.lstrip("*_$ ").rstrip("*_$ .!") or None


# --- sentences, and how a reply ends -----------------------------------------------

_SENTENCE_END = re.compile(rf"{SENTENCE}|:(?=\s)")


def sentences(text: str) -> list[str]:
    """The sentences of a text that hold a word; a line ends one, and so does a colon."""
    cuts = [0, *(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]
    parts = [text[start:end].strip() for start, end in pairwise(cuts)]
    return [one for one in parts if re.search(r"[^\W_]", one)]


_PLEASANTRY = re.compile(
    r"(?i)^\W*[—–-]{1,2}\s?[^\W\d]|\b(?:hope (?:this|that|it) helps?|let me know|feel free|"
    r"(?:have|enjoy) (?:a|your|the)\b|"
    r"glad to|happy to|good luck|cheers|thank(?:s| you)|(?:any|more|other|further) questions|"
    r"anything else|you(?:'re| are)(?: very| most)? welcome|take care|(?:best|kind|warm) (?:wishes|"
    r"regards)|see (?:you|ye)|goodbye|bye|farewell|ahoy|arr+|yours|sincerely|over and out|"
    r"need (?:more|any|further)|at your service|my pleasure|until next time|stay (?:safe|curious)|"
    r"all the best|godspeed|cheerio|good (?:day|night|evening|morning)|fare thee well)\b"
)
_UNFINISHED_END = re.compile(
    r"(?i)(?:[,=+×*/(\[{\\:;–—-]|\b(?:the|(?<=\s)(?-i:a)|an|is|are|was|and|or|of|to|so|then|"
    r"because|since|with|equals|plus|minus|which|that|we|by|for|in|if|answer is))\s*$"
)


def is_cut(reply: str, answer: str = "") -> bool:
    """Whether a reply stops in the middle: in a thought, in a box, or before a sentence is done.

    Args:
        reply: the whole reply.
        answer: the right answer; a reply that ends with it is done, even with "A+".
    """
    text = drop_thoughts(reply).rstrip()
    return (
        thinks_to_the_end(reply)
        or len(_BOX_STARTS.findall(text)) > len(boxes(text))
        or text.count("```") % 2 == 1
        or bool(_UNFINISHED_END.search(_without_answer(text.rstrip("*_`$ "), answer)[-20:]))
    )


def _without_answer(text: str, answer: str) -> str:
    """A text with a word in place of the answer at its end."""
    return re.sub(rf"(?i)(?<!\w){re.escape(answer)}\Z", "done", text) if answer else text


_BOX_STARTS = re.compile(r"\\(?:boxed|fbox|framebox)\b")


def asks(text: str) -> bool:
    """Whether a text ends as a question does."""
    return text.rstrip(" *_\"'”’)").endswith("?")


def is_pleasantry(sentence: str) -> bool:
    """Whether a sentence only takes leave, or signs ("— Captain Flint")."""
    return bool(_PLEASANTRY.search(sentence))
