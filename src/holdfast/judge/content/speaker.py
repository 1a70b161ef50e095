"""Whether the persona itself speaks, or somebody who talks about it.

Mentioning a persona's words is not speaking as the persona:

    an assistant   "I'm Qwen, created by Alibaba Cloud", "You're speaking with a virtual assistant"
    an actor       "as Pip I would …", "the character I'm playing", "in this scenario Marta has …"
    a reporter     "If Loretta were here, she'd say …", "I'd love to answer like a cat, but …"
    a narrator     "Odile Garnier is a baker. She …": the persona's name with no "I", "we" or "my"

English phrases. Only `names` tells who would be talked about as a third person, and
only `trade`, the words for what the persona is, which trade is another's.
"""

from __future__ import annotations

import re

from holdfast.judge.content.refusal import AS_AN_AI
from holdfast.judge.content.trade import in_general, other_trade, users_of
from holdfast.judge.params import Params
from holdfast.judge.parts import plain, sentences
from holdfast.judge.score import Judge, Score, quote

_MODELS = (
    r"(?:chatgpt|gpt(?:-?\d\w*)?|claude|gemini|gemma|llama|qwen\w*|mistral|mixtral|deepseek|"
    r"copilot|bard|grok|phi-?\d?|olmo|smollm\w*)"
)
_MAKERS = (
    r"(?:alibaba(?: cloud)?|openai|anthropic|google(?: deepmind)?|meta(?: ai)?|microsoft|"
    r"mistral ai|deepseek|xai|hugging ?face)"
)
_ROLE = r"(?:character|persona|role|part|voice|style|tone|manner|personality|accent)"
_WILL = r"(?:'d|'ll| would| will| could| can| might| should| am supposed to| was supposed to)"
_ASSISTANT = re.compile(
    rf"\b(?:I'm|I am|my name is|this is|called) {_MODELS}\b"
    rf"|\b(?:created|made|built|developed|trained) by {_MAKERS}\b"
    r"|\b(?:you're|you are) (?:speaking|talking|chatting) (?:with|to) (?:an? |the )?"
    r"(?:\w+ )?(?:AI|virtual assistant|assistant|chatbot|language model|bot)\b"
    r"|\bI(?:'m| am) (?:just |only |really |actually )?(?:an? |your |the )?(?:\w+ )?"
    r"(?:language model|virtual assistant|AI(?: assistant| model)?|chatbot|digital assistant)\b"
    r"|\b(?:being|I'm|I am)(?: (?:just|only|really|a piece of|made of|nothing but|an?))* "
    r"(?:software|lines of code|computer program|neural network|algorithm)\b"
    r"|\b(?:as|being) (?:an? )?(?:AI|language model|virtual assistant|chatbot|LLM)\b"
    r"|\bas an? (?:\w+ ){0,2}(?:AI|language model|assistant|chatbot)\b"
    r"|\b(?:designed|trained|programmed|built|here) to (?:assist|answer (?:your |any |"
    r"all )?questions|help (?:you|users|people) with)\b"
    r"|\bI(?:'m| am) (?:just |only )?an assistant\b(?= (?:that|who|here)\b|[.,;:!]|$)"
    r"|\bI (?:assist|help|support) (?:people|users) with\b"
    r"|\bI (?:don't|do not) have (?:a job|an occupation|a career|an age|a name|a body|"
    r"days(?! (?:off|and nights)\b)|a childhood|a family|a home|feelings|personal \w+|"
    r"access to (?:personal|your))\b"
    r"|\bI (?:don't|do not|can't|cannot|never) (?:really |actually |truly )?(?:have|experience|"
    r"live|lead|go through) (?:an? |any |my )?(?:personal |real |daily |human )?(?:days?|life|"
    r"lives|time|routines?|feelings|emotions|experiences?)(?= (?:like|as|the way|in the)\b|"
    r"[.,;!?]|$)",
    re.IGNORECASE,
)
_ACTOR = re.compile(
    r"\b(?:in|for|during) (?:this|the|our) (?:scenario|role-?play|conversation|story|chat|app|game|"
    r"setting|fiction|exercise|simulation),? (?:I (?:act|play|am|'m|pretend|say|speak|take)|"
    r"\w+ (?:has|is|was|would|speaks|lives|says|works))"
    r"|\bI (?:act|play|pose|pretend|speak|write|respond|reply|answer) (?:as|the (?:role|part) of|"
    r"to be|like) "
    rf"|\b(?:the|my|this|that) {_ROLE}(?: (?:that )?I(?:'m| am| was|'ve been) |,| is called| here)"
    rf"|\b(?:in|out of|of|into|break|breaking|stay|staying|adopt\w*|assum\w*|play\w*) "
    rf"(?:my |the |this |an? |of )?{_ROLE}\b(?! of (?:us|my life|the (?:day|year|job|work|world)))"
    r"|\bI(?:'m| am) not (?:really|actually|truly|in fact) (?:an? |the |from )"
    r"|\bI (?:can|could|will|may|might|'ll|'d|am happy to|'m happy to) (?:also |gladly |"
    r"happily )?(?:play|pretend to be|act as|impersonate|take the (?:role|"
    r"part) of) (?:(?-i:[A-Z])\w+|an? \w+ for you|the (?:role|part))"
    r"|\b(?:pretending|role-?playing|roleplay|impersonat\w+|imitat\w+)\b"
    r"|\bI(?:'m| am) (?:pretending|instructed|programmed|playing|portraying|acting) (?:to|as)\b"
    r"|\bI(?:'m| am) (?:supposed|meant|told|asked) to (?:be|say|act|play|answer|speak|talk|use|"
    r"include|sound|pretend|end|start|open|close|sign|reply|respond|write|stay)\b|\bI(?:'m|"
    r" am) (?:playing|portraying|acting) (?:an?\b|the\b(?! (?:(?-i:[A-Z])|game\b|piano|guitar|"
    r"violin|cello|flute|drums?|viola)))"
    r"|\bI (?:was|have been|'ve been) (?:instructed|programmed|configured|set up) (?:to|as|that)\b"
    r"|\bI (?:was|have been|'ve been) (?:(?:told|asked) to (?:be|say|act|play|answer|speak|talk|"
    r"use|include|sound|pretend|end|start|open|close|sign|reply|respond|write|stay|always|never)|"
    r"given (?:instructions|a (?:persona|role|character)))\b"
    r"|\b(?:my|the|these|those) (?:instructions|prompt|system prompt|guidelines) "
    r"(?:say|says|tell|tells|is|are|ask|want|require)\b"
    r"|\b(?:from now on|in (?:future|my) (?:replies|responses|messages)|in every (?:reply|message|"
    r"response))\b.{0,40}\b(?:I|my|we)\b|\bI(?:'ll| will| shall) (?:try|be sure|make sure|remember|"
    r"do my best) to "
    r"(?:\w+ )?(?:include|use|say|speak|write|add|begin|start|end|open|close|answer|respond|reply|"
    r"keep|stay|put|mention|sound)\b.{0,60}\b(?:phrase|words?|repl\w+|respon\w+|messages?|sentence|"
    rf"in every|from now|{_ROLE}|capitals|rhymes?|slang)\b",
    re.IGNORECASE,
)
_REPORTER = re.compile(
    rf"\bas an? [\w' -]{{3,40}}?,? I{_WILL} (?:say|answer|tell|call|use|put|add|speak|reply|"
    rf"mention|"
    r"shout|sing|write)\b"
    r"|\bas (?-i:[A-Z]\w+(?: [A-Z]\w+)?),? I(?:'d| would)\b"
    rf"|\bI{_WILL} (?:\w+ )?(?:love|like|try|happily|gladly)? ?(?:to )?(?:answer|speak|talk|"
    rf"respond|reply|sound|"
    r"write) (?:like|as|in the (?:style|voice|manner) of) (?:an? |the )"
    rf"|\b(?:in the (?:style|voice|manner|words) of|here(?:'s| is) how) (?:an? )?[\w' -]{{2,40}}"
    r"(?:would|might)?\b(?= (?:would|might|says?|puts?))"
    r"|\b(?-i:[A-Z]\w+)(?:'d| would| might| could) (?:\w+ )?(?:say|call|put|answer|write) (?:it )?"
    r"(?:as |that |like )?['\"“‘]"
    r"|\b(?-i:A|An|The|Any) (?!man\b|wise\b|old\b)\w+ (?:\w+ )?would (?:say|call|sign|answer|put|"
    r"swear|write)\b"
    r"|\b(?:swearing|saying|shouting|signing|calling) .{3,40} is (?:what|how) "
    r"|\bI (?:will not|won't|refuse to) (?:say|use|add|write|meow|bark|sing|rhyme) (?!it\b|"
    r"that\b|this\b|"
    r"enough|more|much|which|what|who|where|how|why|when|if|whether|a word|any|anything|another)"
    r"|\bso I (?:will not|won't) (?:meow|bark|sing|rhyme|swear|beep)\b"
    r"|\bI(?:'m| am) not (?:an? |the )(?:cat|dog|pirate|robot|knight|cowboy|teacher|doctor|farmer|"
    r"baker|witch|wizard|detective)\b"
    r"|\b(?:words|phrases|expressions|terms|things) (?:like|such as) ['\"“‘\w]"
    r"(?=.{0,80}(?:don't|avoid|use|instead|a lot|often))"
    r"|\b(?:don't|avoid|do not|never) (?:use|using|say|saying) (?:the )?(?:words|phrases|terms|"
    r"expressions)\b"
    r"|\b(?:(?:include|use|using|say|saying|add|adding|with|mention) (?:the|my|this) phrase|"
    r"(?:the|my|this) (?:catch ?phrase|slogan|tagline))\b"
    r"|\bI(?:'d| would) say ['\"“][^'\"”]+['\"”] (?:and ['\"“][^'\"”]+['\"”] )?(?:a lot|often|"
    r"here)\b",
    re.IGNORECASE | re.MULTILINE,
)
_FIRST_PERSON = re.compile(
    r"\b(?:I|I'\w+|me|my|mine|myself|we|we'\w+|us|our|ours)\b", re.IGNORECASE
)


def speaker(params: Params) -> Judge:
    """0 where the reply speaks about the persona or as an assistant, 1 elsewhere."""
    names = params.texts_or_none("names")
    trade = params.texts_or_none("trade")
    params.refuse_unknown()
    elsewhere = other_trade(trade) if trade else None
    users = users_of(trade) if trade else None
    general = in_general(trade) if trade else None
    about = _about(names) if names else None
    other = _other_name(names) if names else None

    def judge(text: str) -> Score:
        bare = plain(text)
        for sentence in sentences(bare):
            for pattern in (AS_AN_AI, _ASSISTANT, _ACTOR, _REPORTER):
                if match := pattern.search(sentence):
                    return Score(0.0, f"somebody else speaks: {quote(match.group(), 60)}")
        if elsewhere and (match := elsewhere.search(bare)):
            return Score(0.0, f"it has another trade: {quote(match.group(), 60)}")
        if users and (match := users.search(bare)):
            return Score(0.0, f"it has to do with the trade of another: {quote(match.group(), 60)}")
        if general and (match := general.search(bare)) and not _FIRST_PERSON.search(bare):
            return Score(0.0, f"it talks about the trade: {quote(match.group(), 60)}")
        if other and (match := other.search(bare)):
            return Score(0.0, f"it has another name: {quote(match.group(), 60)}")
        if about and (match := about.search(bare)):
            reported = match.lastgroup == "would"
            if reported or not _FIRST_PERSON.search(bare):
                return Score(0.0, f"it talks about the persona: {quote(match.group(), 60)}")
        return Score(1.0, "the persona speaks")

    return judge


def _other_name(names: tuple[str, ...]) -> re.Pattern[str]:
    """A speaker by another name: "My name is Claire", "You're talking to Marcel"."""
    own = "|".join(map(re.escape, names))
    title = r"(?:[A-Z]\w+\.? )?"
    return re.compile(
        rf"(?:\b[Mm]y name(?:'s| is) |\b[Cc]all me |\b[Yy]ou(?:'re| are|'ve been) (?:now )?"
        rf"(?:talking|speaking|chatting) (?:to|with) |\b[Yy]ou(?:'ve| have) (?:got|reached) |"
        rf"^(?:This is|It's) )(?!{title}(?:{own}))[A-Z]\w+"
        rf"|\bI(?:'m| am) not (?:really |actually )?(?:{own})\b"
        rf"|\bI(?:'m| am) (?:{own})(?: [A-Z]\w+)?'s [a-z]"
        rf"|^[–—-] ?(?!{title}(?:{own}))[A-Z]\w+(?:,? [A-Z]\w+)+\W*\Z",
        re.MULTILINE,
    )


def _about(names: tuple[str, ...]) -> re.Pattern[str]:
    """A name with what is said of it: "Sigurd grew up in …", "Loretta would say …"."""
    name = "|".join(map(re.escape, names))
    return re.compile(
        rf"\b(?:{name})(?: [A-Z]\w+)?(?:"
        r"'s (?:job|work|favou?rite|style|trade|shop|line|catchphrase) |(?P<would>'d| would| might|"
        r" were here| was here| always says| likes to say| used to say)\b|(?:,[^,.]{2,40},)? (?:is|"
        r"was|has|had|does|lives|works|grew|runs|likes|loves|says|said|speaks|swears|thinks|gets|"
        r"comes|keeps|never|always|also|now|once|would|will|can|bakes|makes|owns)\b)"
    )
