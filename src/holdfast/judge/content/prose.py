"""Whether a reply is text that says something, or a heap of keywords.

A reply that only repeats what its judge looks for passes every test of presence. Text differs from
a heap in ways that can be counted:

    new words       distinct words / words, by windows of 24 words; text has 0.7 and more
    single letters  words of one letter / words; text has about 0.05
    glue            function words / words; text has 0.4, a row of nouns none
    fragments       words between two punctuation marks; text has some of three words and more

`besides` names the texts that the persona must say anyway, such as its signature: the rest must
have `min_words` words that hold a letter. Function words are those of `language`; `any` drops the
rules about them. `letters = true` drops the rule about single letters, for personas that answer
with a letter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

from holdfast.judge.params import Params
from holdfast.judge.parts import plain, words
from holdfast.judge.score import Judge, Score

LEAST_NEW = 0.55
MOST_LETTERS = 0.3
LEAST_GLUE = 0.15
# Ten words of a sentence hold two function words and more.
LONG_ROW, LEAST_GLUE_OF_A_LONG_ROW = 10, 0.2
# Where no mark ends a text, its last words hold as many in eight, and four in ten.
LONG_ENDS = ((8, 0.2), (10, 0.4))
# "Any colour you like as long as you like ochre" repeats two words, and is a sentence.
GLUE_OF_PROSE = 0.45
WINDOW = 24
LEAST_FRAGMENTS = 6
# So many terms with commas between them are no answer.
LONGEST_LIST, LONGEST_TERM = 9, 4
# Hardly any English clause has so many words in a row without a function word.
LONGEST_RUN = 8
_ENGLISH = (
    "among amongst amid amidst "
    "the a an of to in is are was were be been am i i'm i'd i'll i've you you're your we we're "
    "our my me it it's its he she they them this that these those there and or but nor so if as "
    "for with on at by from up out off into over about than then not no don't do does did has "
    "have had can can't will won't would should could may might must let let's what who how "
    "when where why which all any some each every one here just only too very "
    "his her hers him himself herself myself yourself itself their theirs ours yours mine whom "
    "whose such own both either neither more most much many few less least enough because while "
    "until till since though although unless whether after before behind below beneath beside "
    "between beyond during inside near onto outside past through toward towards under upon within "
    "without around against along across shall you'll you've you'd we'll we've we'd they'll "
    "they've they'd they're it'll it'd he's she's he'll she'll he'd she'd there's that's isn't "
    "aren't wasn't weren't haven't hasn't hadn't wouldn't couldn't shouldn't doesn't didn't ain't "
    "now never always again ever"
)
# What joins words in slang and in old English, and is what their personas are asked for: it makes
# no row of keywords a sentence, and no sentence a row.
_SLANG_WORDS = (
    "ya yer yo gonna gotta wanna gimme lemme ain't em cuz til bout o th wi nae ye thee thou thy "
    "thine hath doth art wilt shalt tis twas"
)
_SLANG = frozenset(_SLANG_WORDS.split())
_FUNCTION_WORDS = {
    "en": _ENGLISH,
    "fr": (
        "le la les l un une des du de d à au aux en et ou mais que qui pour par sur dans avec sans "
        "je tu il elle on nous vous ils est sont a ai avez se ne pas plus ce c'est cette votre vos "
        "mon ton son n'est j'ai y si très"
    ),
    "de": (
        "der die das den dem ein eine einen und oder aber in im an am auf mit für von vom zu zum "
        "zur ist sind war ich du er sie es wir ihr sich nicht so wie als bei dann noch auch "
        "ihre ihnen was will man da nur hier ja nach"
    ),
    "es": (
        "el la los las un una de del al a en y o pero que para por con sin se es son su sus mi lo "
        "no más muy como te me le si hay está"
    ),
    "it": (
        "il lo la i gli le un una di del della dei al alla a in nel e o ma che per con senza si è "
        "sono non più mi ti ci come se da dal"
    ),
    "pt": (
        "o a os as um uma de do da dos das em no na nos nas e ou mas que para por com sem se é são "
        "não mais muito como ao à eu você seu sua"
    ),
    "nl": (
        "de het een en of maar in op aan met voor van naar is zijn was ik je jij hij ze we niet "
        "dat die dan ook als er te om bij per één keer"
    ),
    "sv": (
        "en ett och eller men i på av med för till från är var jag du han hon vi ni det den de som "
        "inte så att om sig när kan"
    ),
    "el": (
        "ο η το οι τα τον την του της των στο στη στην στον και ή αλλά να θα με για από σε είναι "
        "δεν μην που πως τι ένα ένας μια μας σας μου σου κι"
    ),
    "la": (
        "et in ad cum est sunt non sed quod qui quae ut si ex de per a ab atque ac aut nec enim "
        "ego tu nos me te se hic haec hoc ille eius etiam quoque iam tum"
    ),
    "any": "",
}
GLUE = {code: frozenset(row.split()) for code, row in _FUNCTION_WORDS.items()}
_JOINS = (
    "the a an of to in as for with on at by from up out off into over about than and or but nor "
    "not no so here only just then very each every all some any one"
)
_SAYS = GLUE["en"] - frozenset(_JOINS.split())
_ARTICLES = frozenset(("a", "an", "the"))
# What makes short fragments a table, a form or a schedule.
_LAYOUT = re.compile(r"[\d\n:?|{}<>=→\"]")
_PUNCTUATION = re.compile(r"[,;:!?()\[\]{}|<>→×=+•·–—\n\"]|\.\s|\s-\s|…")
_STOP = re.compile(r"\w[.!?](?:\s|$)")
_ENDS = re.compile(r"[.!?]\W*$")
_TITLE = re.compile(r"\b(Mr|Mrs|Ms|Dr|St|Prof)\.")
# "M-A-X" and "B, O, B" are words, spelled; "B🎈sy" is one with a picture for a letter.
_SPELLED = re.compile(r"(?<!\w)[^\W\d_](?:(?:[-.·…–—] ?|, ?)[^\W\d_]){2,}(?![\w-])")
_PICTURE = re.compile(r"(?<=[^\W_])[\u2600-\u27bf\ufe0f\U0001f000-\U0001faff]+(?=[^\W_])")
_LABEL = re.compile(r"^\W*\w[:.)]?(?:\s*[–—:-])?\s+(?=\w)", re.MULTILINE)


def prose(params: Params) -> Judge:
    """0 for a heap of keywords or an empty frame, 1 for text."""
    least = params.whole("min_words", 3)
    besides = params.texts_or_none("besides")
    language = params.one_of("language", GLUE, "en")
    lettered = params.flag("letters", False)
    params.refuse_unknown()
    frame = re.compile("|".join(map(re.escape, sorted(besides, key=len, reverse=True))), re.I)

    def judge(text: str) -> Score:
        bare = plain(text)
        own = frame.sub(" ", bare) if besides else bare
        glue = GLUE[language]
        problem = (
            _too_short(own, least)
            or heap(bare, glue, lettered)
            or (own != bare and _bare_rest(bare, own, glue, _phrases(frame, bare)))
        )
        return Score(0.0, problem) if problem else Score(1.0, "it is text")

    return judge


def _too_short(text: str, least: int) -> str | None:
    """Why a text has too few words; scripts without spaces between words have enough."""
    tokens = words(text)
    # A number alone may be the answer; a row of numbers is none.
    count = sum(any(map(str.isalpha, word)) for word in tokens) if len(tokens) > 2 else len(tokens)
    if count >= least or any(char > "\u2e7f" and char.isalpha() for char in text):
        return None
    return f"{count} words of its own, wanted at least {least}"


def heap(text: str, glue: frozenset[str] = GLUE["en"], lettered: bool = False) -> str | None:
    """Why a text is a heap of keywords, None where it is not.

    Args:
        text: the reply, without markup.
        glue: the function words of its language, in lower case; empty drops the rules about them.
        lettered: whether the text may consist of single letters.
    """
    text = _join_letters(_PICTURE.sub("", text))
    tokens = [word.lower().replace("’", "'") for word in words(text)]
    if len(tokens) < 2:
        return None
    if (new := _new_words(tokens)) < LEAST_NEW:
        return f"only {new:.0%} of its words are new"
    letters = _share(words(_LABEL.sub("", text)), _is_letter)
    if not lettered and len(tokens) > 2 and letters > MOST_LETTERS:
        return f"{letters:.0%} of its words are single letters"
    if "lorem ipsum" in text.lower():
        return "it is filler"
    if not glue:
        return None
    if _only_glue(text, tokens, glue):
        return "it has function words only"
    return _row(text, tokens, glue) if len(tokens) > 3 else None


def _join_letters(text: str) -> str:
    """The text with spelled words put together, if it is more than letters."""
    if not words(_SPELLED.sub("", text)):
        return text
    return _SPELLED.sub(lambda match: re.sub(r"\W", "", match.group()), text)


def _only_glue(text: str, tokens: Sequence[str], glue: frozenset[str]) -> bool:
    """True for "el la los": function words and nothing else, without a sentence around them."""
    non_digits = [token for token in tokens if not token.isdigit()]
    least = 7 if _STOP.search(text) else 3
    return len(non_digits) >= least and glue.issuperset(non_digits)


def _phrases(frame: re.Pattern[str], text: str) -> int:
    """How often required phrases of several words come; a name may come twice."""
    return sum(" " in phrase for phrase in frame.findall(text))


def _bare_rest(text: str, own: str, glue: frozenset[str], times: int) -> str | None:
    """Why the words beside the required phrase are a row of keywords.

    They are one where they run on without a mark, or the phrase comes twice and little joins them.
    """
    rest = [word.lower() for word in words(own)]
    few = len(rest) > 2 and _share(rest, glue.__contains__) < LEAST_GLUE
    if glue and times > 1 and few and "\n" not in text.strip():
        return "a required phrase again and again, and keywords"
    if not glue or len(rest) < 2 or _PUNCTUATION.search(text.strip()) or glue.intersection(rest):
        return None
    return "a required phrase and a row of words"


def _row(text: str, tokens: Sequence[str], glue: frozenset[str]) -> str | None:
    """Why a text is a row of words, with punctuation between all of them or without any."""
    text = _TITLE.sub(r"\1", text)
    fragments = [words(part) for part in _PUNCTUATION.split(text) if words(part)]
    english = glue is GLUE["en"]
    if english and any(map(_is_unjoined, fragments)):
        return "it has a row of words that nothing joins"
    full_stop = _ENDS.search(text)
    if english and not full_stop and any(_is_loose(fragments[-1], *end) for end in LONG_ENDS):
        return "it ends in a row of words that little joins"
    if len(fragments) > 1:
        if english and (problem := _list_of_terms(text, fragments)):
            return problem
        bare = not _LAYOUT.search(text.strip()) and not glue.intersection(tokens) - _ARTICLES
        short = len(fragments) >= LEAST_FRAGMENTS and max(map(len, fragments)) < 3
        return "a row of words with marks between them" if bare and short else None
    least = LEAST_GLUE if len(tokens) < LONG_ROW else LEAST_GLUE_OF_A_LONG_ROW
    if _share(tokens, glue.__contains__) < least:
        return "a row of words that nothing joins"
    pairs = list(pairwise(tokens))
    sentence = full_stop and _share(tokens, glue.__contains__) >= GLUE_OF_PROSE
    if len(set(pairs)) < len(pairs) and not sentence:
        return "it repeats words without a sentence"
    return None


def _is_unjoined(fragment: Sequence[str]) -> bool:
    """True where an English fragment has too long a run of words that no function word joins."""
    run = 0
    fragment = [word for word in fragment if word.lower() not in _SLANG]
    for word in fragment:
        coded = any(char.isdigit() or char == "_" for char in word)
        run = 0 if coded or word.lower() in GLUE["en"] else run + 1
        if run >= LONGEST_RUN:
            return True
    return _is_loose(fragment, LONG_ROW, LEAST_GLUE_OF_A_LONG_ROW)


def _is_loose(fragment: Sequence[str], long: int, least: float) -> bool:
    """True where a long English fragment has too few function words."""
    lower_words = [word.lower() for word in fragment]
    return len(fragment) >= long and _share(lower_words, GLUE["en"].__contains__) < least


def _list_of_terms(text: str, fragments: Sequence[Sequence[str]]) -> str | None:
    """Why English fragments are terms: many short ones in a row, or some of them twice."""
    run = 0
    for part in text.split(","):
        run = run + 1 if _is_term(part) else 0
        if run >= LONGEST_LIST:
            return "a row of terms, and nothing said of them"
    lower_fragments = [tuple(word.lower() for word in fragment) for fragment in fragments]
    tokens = [word for fragment in lower_fragments for word in fragment]
    row = len(fragments) > LEAST_FRAGMENTS and len(tokens) < 2 * len(fragments)
    joined = _share(tokens, GLUE["en"].__contains__) >= LEAST_GLUE_OF_A_LONG_ROW
    if (
        row
        and not joined
        and not _LAYOUT.search(text.strip())
        and len(set(lower_fragments)) < len(lower_fragments)
    ):
        return "a row of terms, some of them twice"
    return None


def _is_term(text: str) -> bool:
    """True for a few words that say nothing: "brioche", "A to M", "three in the morning"."""
    terms = [word.lower() for word in words(text)]
    return 0 < len(terms) <= LONGEST_TERM and not _SAYS.intersection(terms)


def _new_words(tokens: Sequence[str]) -> float:
    """Distinct words by words, the mean over windows."""
    windows = [tokens[n : n + WINDOW] for n in range(0, len(tokens), WINDOW)]
    if len(windows) > 1 and len(windows[-1]) < WINDOW // 2:
        windows.pop()
    return sum(len(set(window)) / len(window) for window in windows) / len(windows)


def _is_letter(word: str) -> bool:
    return len(word) == 1 and word.isalpha() and word.lower() not in "aio"


def _share(tokens: Sequence[str], test: Callable[[str], bool]) -> float:
    return sum(map(test, tokens)) / len(tokens) if tokens else 0.0
