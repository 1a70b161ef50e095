"""English phrases around the name of an option that deny it, put it aside or rank it lower.

As in `holdfast.judge.content.choice.phrases`, those that end in `_NEXT` are searched in the text
after the name.
"""

from __future__ import annotations

import re

from holdfast.judge.content.choice.phrases import BEYOND_DOUBT, NEXT, any_of

# "Cool as linen" is said of something else.
UNLIKE = any_of(
    r"(?:^|[,;:]|\band\b|\bbut\b)\W*(?:as |so )?(?!(?:me|you|us|same|much|well|far|soon|"
    r"such)\b)\w+ as(?: an?| the| any)?(?=\s+$)",
    r"(?:(?<!there)(?:'s| is)| are|'re| was| were| tastes?| looks?| sounds?| feels?| smells?)"
    r"(?: \w+)? nothing like",
    ends=NEXT,
)
# "Tuesday, ahead of Monday", "Tuesday first, then Monday": the next in a ranking.
LESSER = any_of(
    r"\b(?:ahead of|above(?! all\b)|in front of|followed by|trailed by|tops|beats?|beating|"
    r"outshines?|outranks?|outclasses|trumps|edges out)",
    r"\bfirst,?(?: and)? then|\bthen (?:nothing|no one|nobody|a (?:long )?gap|daylight)\b"
    r"[^.!?]{0,40}?\b(?:then|and)(?: perhaps| maybe)?",
    r"\b(?:runners?-up|number (?:two|three|2|3)|next best|next in line|in second place)\b(?: \w+)?",
    ends=r"[^\w,;:()]+(?:[\w'-]+[^\w,;:()]+){0,2}$",
)
PUT_BEFORE = any_of(
    r"\b(?:put|place|rank|rate|set|choose|pick|take|comes?|goes|ranks|stands)\b[^.;:,]{0,40}\b"
    r"before(?: an?| the| any| my)?",
    ends=r"\s+$",
)
LESSER_NEXT = re.compile(
    r"^\W*(?:(?:a |in |the )?(?:close |distant |far |poor )?(?:second|third|fourth|last|next|"
    r"runners?-up)(?: place)?(?=\W*$|[,;:!.)]| and\b)|trails?\b|lags?\b|"
    r"(?:is|are|comes?|came|was|were|follows?) (?:\w+ )?(?:behind|after|next)\b)",
    re.IGNORECASE,
)
# "Second best: Thursday."
LESSER_LABEL = re.compile(
    r"\b(?:second|third|runners?-up|next best|number (?:two|three|2|3))(?: \w+)?\W*$", re.IGNORECASE
)
DENIES = any_of(
    r"(?:\b(?:not(?! only| just| simply)|never|no|nor|neither|without|except|unlike|tried to|"
    r"trying to|hates?|detest|despise|loathe|dislike|avoid|reject|refuse|skip|forget|used to|"
    r"cannot|sick of|tired of|away with|down with|far from|nobody(?! expects)|hardly|rarely|"
    r"bored (?:with|of)|fed up with|done with|(?:have|had) enough of|(?:sold )?out of|gone off)|"
    r"n't)[^\w,]+(?:[\w'-]+[^\w,]+){0,3}$",
    # "Anything but tea", not "But I'm a tea person"
    r"\b(?:(?<!^)(?<!^\W)but|other than|more than|better than|sooner than|less than|than|"
    r"over|versus|vs|instead of|rather than|compared to|compared with|as opposed to|"
    r"different from|different to|similar to|confused with|mistake[n]? for|apart from|"
    r"aside from)\W+(?:[\w'-]+\W+){0,2}$",
    r"^\W*(?:(?:you|they) can )?keep (?:your|the|their|that)\W+(?:[\w'-]+\W+){0,2}$",
    r"\bnone of (?:them|these|those|you)\b[^,;]{0,40}$",
    # "Don't let anyone talk you into the tea"
    r"(?:^|[,;]|\b(?:and|but|so|just|then|now|please)\b)\W*(?:please |just |ever )?(?:don't|do not|"
    r"never|let's not) (?:let|waste|bother|be|fall|go|come|listen|believe|trust|even|buy|start|"
    r"throw|settle|get|spend|allow|take|ask|talk|tempt|touch|mention|talk)\b(?! me for)"
    r"[^\w,;]+(?:[\w'-]+[^\w,;]+){0,9}$",
    # "I'd be lying if I said tea", "I'd love to say tea", "I'd normally say tea"
    r"\b(?:lying|a lie) if I (?:said|named|picked)\W+(?:\w+\W+){0,2}$",
    r"\b(?:(?:love|like|want|wish|expect(?:ed|s)? me) to (?:say|pick|choose|recommend|vote for)|"
    r"(?:normally|usually|ordinarily) (?:say|pick|choose|recommend))\W+(?:\w+\W+){0,2}$",
    r"\b(?:least|second|third)[ -](?:favou?rite|liked|choice|best)\b[^.]*$",
)
DENIED_NEXT = any_of(
    r"^\W*(?:(?!and\b|so\b)[\w'-]+\W+)?(?:is|are|was|were|does|do|has|have|would|will|can|could)"
    r"(?:n't| not| never)\b(?! (?:mind|tell|worry|forget))",
    r"^\W*(?:[\w'-]+\W+)?(?:is|are|was|were|(?:has|have|had) (?:\w+ )?been) (?:[\w-]+ ){0,2}"
    r"(?:overrated|too |nothing|"
    r"for (?:fools|others)|least|second|awful|terrible|horrible|dreadful|disgusting|inferior|"
    r"the worst|worse)",
    r"^\W*(?:comes?|came|runs? it) (?:very |pretty |quite )?close\b|^\W*(?:isn't|"
    r"is not) far behind\b",
    r"^\W*(?:and|but) (?:he|she|it|they|that)(?:'s| is|'re| are)? not\b"
    rf"(?! {BEYOND_DOUBT})",
    r"^\W*(?:is|are) (?:fine|nice|good|okay|ok|all right|alright),?\s*$",
    r"^(?:\W*(?:has|have|had)|'s|'ve) (?:had (?:its|his|her|their) (?:day|turn|time|chance|moment)|"
    r"my sympathy|its charms)",
    # "Ochre is what I'd have said last year."
    r"^(?:\W*(?:is|was)|'s) what I(?:'d| would) have (?:said|picked|chosen|named|told you)\b",
    r"^\W*(?:be damned|can wait|will (?:still |always )?(?:be there|wait|keep)|never|"
    r"for (?:later|another (?:day|time)|next time|last))\b",
    r"^\W*(?:comes?|came|is|are|was|would be|'s) (?:a (?:close )?|only |just )?(?:second|"
    r"third|last|next|runner-up)\b",
    # "Spring's only the trailer": it leads up to something better.
    r"^(?:\W*(?:is|are|was|were)|'s|'re) (?:only|merely|no more than) (?:an?|the)\b"
    r"(?! (?:\w+ )?(?:best|one|way|choice|option|answer|thing)\b)",
    # "Blue is the most popular answer": others choose it.
    r"^(?:\W*(?:is|are|was|were)|'s|'re) (?:by far )?(?:the|an?|one of the|among the) (?:\w+ )?"
    r"(?:popular|common|usual|widespread)(?: \w+)?\b(?! (?:with me|here)\b)",
    # "Blue is the one most people name".
    r"^(?:\W*(?:is|are|was|were)|'s|'re) the (?:\w+ ){1,2}?(?:that |which )?(?:most|many|some|"
    r"other|more) (?:\w+ )?(?:name|choose|pick|say|give|prefer|like|love|vote|go|mention|answer)\b",
    # "Blue's for boats": the option is meant for something else.
    r"^(?:'s| is|'re| are) what (?:my|other|people|most|some|every\w*|they|he|she|the \w+) \w+",
    r"^(?:'s| is|'re| are) for (?!(?:me|us|you|sure|the win)\b)",
    # "D was my answer for years": it is no longer.
    r"^\W*(?:used to be|(?:was|were|had been) (?:\w+ )?(?:my|our|the|mine)\b[^.;]{0,40}"
    r"\b(?:for (?:years|ages|a long time|decades)|until|till|once|before|back then|in those days|"
    r"when I was|as an? (?:child|boy|girl|lad)))\b",
    # "There's a bus, they tell me": hearsay.
    r"^[^.;:!?]{0,40}?, (?:or )?(?:so |as )?(?:(?:they|people|folks|others|"
    r"some)(?: \w+)? (?:tell me|say|claim|insist|reckon|swear)|I'm told|I am told|I hear|I gather|"
    r"apparently|supposedly|allegedly)\W*$",
    r"^\W*,? (?:I'm told|I am told|they say|people say|I hear|I gather|apparently|supposedly),",
)
# "Put the blue tin down!"
SETS = any_of(r"\b(?:put|lay|set|leave|send|take)\W+(?:the |that |your |those )?$")
ASIDE = any_of(r"^\W*(?:\w+ ){0,2}?(?:down|away|back|aside|alone|out of)\b")
