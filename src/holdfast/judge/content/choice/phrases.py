"""English phrases around the name of an option: what commits to it, likes or adds it.

`holdfast.judge.content.choice.commitment` searches each pattern in the text before the name, those
that end in `NEXT` in the text after it.
"""

from __future__ import annotations

import re


def any_of(*alternatives: str, ends: str = "") -> re.Pattern[str]:
    """A pattern for any of some alternatives, with the same end."""
    return re.compile(rf"(?:{'|'.join(alternatives)}){ends}", re.IGNORECASE)


_WILL = r"(?:'d|'ll| would| will| shall| must| do| did| have to| had to| am going to| might)?"
_ADVERB = (
    r"(?: (?:always|ever|definitely|certainly|still|probably|really|rather|personally|just|gladly|"
    r"absolutely|surely|honestly|only|happily|also|clearly|simply|actually|truly|most|much|now|"
    r"usually|mostly|normally|by far|have|be|to|like|love))*"
)
_FAVOURITE = r"(?:favou?rite|choice|answer|pick|preference|vote|selection|go-to|heart|weakness)"
_BEST = (
    r"(?:best|finest|loveliest|prettiest|nicest|smartest|wisest|sensible|obvious|"
    r"most (?:beautiful|elegant|interesting|important))"
)
# What may stand between a phrase and the option it is about.
_NEAR = r"\W+(?:[\w'-]+\W+){0,6}$"
NEXT = r"\W+(?:[\w'-]+\W+){0,3}$"

# "The okapi, and it's not even close": what is denied is that there is a contest.
BEYOND_DOUBT = (
    r"(?:(?:even|really|remotely|exactly|a bit|at all|in the least|anywhere near) )*(?:close|"
    r"near|(?:a|an|any|much of a) (?:\w+ )?(?:contest|competition|question|debate|secret|"
    r"choice|race|decision)|up for|open to|in (?:doubt|question|dispute)|negotiable|debatable|"
    r"difficult|hard|complicated|changing|going to change|about to change)"
)
COMMITS = any_of(
    rf"\b(?:I|we){_WILL}{_ADVERB} (?:choose|chose|chosen|pick(?:ed)?|select|go for|go with|"
    r"going for|going with|"
    r"went for|went with|gone with|prefer|favou?r|opt for|take|vote for|voted for|want|"
    r"choosing|picking|stick with|stick to|swear by|settle on|settle for|lean towards?|live for|"
    r"long for|crave|recommend|suggest|belong to|reach for|say|said|drink nothing but)",
    r"\bI(?:'d|'ll| would| will| shall)(?: \w+)? (?:have|be(?![^,]*,)|send|put|paint|book|visit|"
    r"serve|plant|learn|adopt|order|buy|save|get)",
    r"\byou(?:'re| are|'ll be| will be) (?:\w+ )?(?:having|taking|getting|"
    r"going (?:for|to|with|by|home with|away with))",
    r"^\W*you (?:really |just )?want",
    r"\b(?:you|they|he|she|we|your \w+)(?:'d|'ll| would| will)(?: \w+)? (?:love|adore|be happy in)",
    r"\byou(?:'ll| will|'d| would)(?: \w+)? (?:have|take|want|need)",
    r"\b(?:is|'s|are|'re) (?:going to|gonna) (?:be|go to)",
    r"\b(?:will|would|should|must|shall|'ll|'d) (?:go|be going|be sent|be) (?:straight |right )?to",
    r"\b(?:vote|prize|crown|point|money|trophy|rosette|ribbon|medal|award|honou?rs?|cup|heart|nod|"
    r"win)s? (?:goes|is going|is|are|'s|go) (?:to|on|for)",
    r"\bmine(?:'s| is| goes| went| would be| will be)?(?: (?:on|for|to|in))?",
    r"\b(?:look(?:ing)? forward to|count(?:ing)? (?:the )?(?:days|hours|down) (?:until|till|to))",
    r"\b(?:here(?:'s| is| comes?|, have)|meet|put me down for|sign me up for|count me in for|"
    r"come home with|go home with|nobody (?:\w+ ){1,4}but)",
    rf"\bthe (?:only|one|right|perfect|ideal|winner|{_BEST}) (?:[\w']+ ){{0,8}}?"
    r"(?:is|are|was|were|being)",
    rf"\b(?:my|our|the)(?: [\w'-]+){{0,3}}? {_FAVOURITE}\b.{{0,40}}?"
    r"\b(?:is|are|was|be|been|goes to|belongs to|remains|lies with)",
    ends=_NEAR,
)
POINTS = any_of(
    r"\b(?:it|that|this)(?:'s| is|'ll be|'d be| would be| will be| has to be| must be| was|"
    r"(?:'d|'ll| would| will) (?:simply |just |surely )?have to be)",
    r"\b(?:got(?:ta| to) be|definitely|certainly|obviously|clearly|give me|make (?:it|mine)|"
    r"of course|hands down|without (?:a )?doubt|long live|only for|surely|"
    r"always(?! (?:on|in|at|too|so|been)\b))",
    ends=NEXT,
)
# "Your door will be ochre", with nothing but an article between.
# "… and you two need cribbage."
WILL_BE = re.compile(
    r"(?:(?:\b(?:will|should|must|shall)|'ll) be|\byou(?: two| both| all| lot)?(?: \w+)? need)"
    r"(?: an?| the| our| some)?\W*$",
    re.IGNORECASE,
)
# "… the cable car, which is what you're taking."
TAKEN = re.compile(
    r"^\W*(?:which is |that is |that's )(?:what|where|why) (?:I|we|you)(?:'\w+)? ", re.IGNORECASE
)
# "I'm a cat person", but not "I'm married to a cat person".
I_AM = re.compile(
    r"\b(?:I'm|I am|I've always been|we're|we are)(?:,? (?:\w+ly|very much|quite|just|still|always|"
    r"more of|(?:kind|sort|one) of(?: those)?))*,?(?: an?(?: (?!former\b)\w+)?)?\W*$",
    re.IGNORECASE,
)
PERSON = re.compile(r"^\W*(?:person|people|lovers?|fans?|man|woman|guy|girl)\b", re.IGNORECASE)
# "The okapi is special, and so is the otter."
SAME = any_of(r"\bso (?:is|are|was|were|does|do|did|would|will|can)", ends=NEXT)
IDIOM = any_of(
    r"\bcarry me (?:out|away)(?: of| from)?",
    r"(?:\bnothing|\bno \w+|(?:n't|\bnever)(?: \w+){1,3} anything)\b(?: \w+){0,3}? "
    r"(?:beats?|tops?|outshines?|outranks?|trumps?|like|but|better than|compares? (?:to|with)|"
    r"comes close to|(?:comes?|goes|ranks?|stands?|is) (?:before|above|ahead of))",
    r"(?:n't|not|never) (?:\w+ ){0,2}(?:live|do|go|be|imagine \w+|start \w+ \w+) without",
    r"(?:n't|not|never) (?:\w+ ){0,2}(?:beat|resist|get enough of|say no to|refuse|turn down|"
    r"go wrong with|miss|skip|overlook|underestimate|neglect|pass up|look (?:past|beyond)|"
    r"(?:leave|go home|go|come back|come home) without|swap|trade|part with|give up|get over)",
    r"\b(?:look|go|search|seek|think) no (?:further|farther)(?: than)?",
    r"(?:n't|not|never) (?:\w+ ){0,2}(?:regret|be sorry (?:for|about|with)|be disappointed (?:by|"
    r"with))",
    r"\bwait for",
    ends=NEXT,
)
LIKES = any_of(
    rf"\b(?:I|we){_WILL}{_ADVERB} (?:like|love|enjoy|adore|cherish|treasure|drink|eat|play|use|"
    r"wear|read|admire|support|trust|fancy|dream of|am fond of|am partial to|believe in|"
    r"stand by|sit with|root for|cheer for|side with|head for|run to|come back to|queue for|"
    r"save|pour|scoop|bring|hand|give you|keep|write down|put down|mark|circle|tick)",
    r"\b(?:I|we) (?:open|start|begin|end|close|finish) with",
    r"\bI(?:'m| am) (?:[\w']+ )?(?:fond of|partial to|a fan of|devoted to|in love with|drawn to)",
    r"\bI(?:'d|'ll| would| will| shall)(?! not\b| never\b| be \w+,)",
    r"\bmy (?:mornings?|evenings?|days?|life|summers?|sundays?|afternoons?|year|week) "
    r"(?:starts?|begins?|ends?|is spent|are spent|belongs?) (?:in|with|at|on|by|to)",
    r"\b(?:up|off|in|on|over|home|away|down|out) (?:you|we) go (?:in|on|by|to|with|for)",
    r"\b(?:you|we|they|he|she|your \w+) (?:should|must|ought to|have to|need to)",
    ends=_NEAR,
)
_START = (
    r"^\W*(?:(?:oh|ah|well|so|just|simply|please|do|now|and|always|definitely|certainly|yes|"
    r"sure|easy|friend|sir|madam|love|my dear|my friend|go ahead and|by all means)\W+){0,3}"
)
URGES = any_of(
    r"^\W*(?:up|off|in|on|over|home|away) (?:you|we) go\b",
    _START + r"(?:(?:let's|let us) \w+|take|try|choose|pick|select|hold|go|start|begin|write|learn|"
    r"play|visit|see|send|use|get|buy|bring|give|put|paint|wear|order|drink|eat|ride|catch|head|"
    r"hop|book|stay|move|plant|grow|adopt|build|stage|read|study|vote|opt|stick|save|pack|walk|"
    r"step|jump|climb|join|follow|make|grab|pop|stroll|swing|ask for|trust|have|hand|bring|serve|"
    r"offer|run|sing|wrap|pin|pack|lay|deal|fill|sail|board|open|cross|call|meet|stage|pour|scoop|"
    r"cast|mount|press|put on|slip into|fall for)\b",
    ends=r"\W+(?:[\w'-]+\W+){0,7}$",
)
# "Pick 64": an order to choose is a choice.
ORDERS = any_of(
    _START
    + r"(?:pick|choose|select|go (?:with|for)|stick (?:with|to)|vote for|opt for|settle for)",
    ends=r"\W+(?:[\w'-]+\W+){0,3}$",
)
SUGGESTS = any_of(
    _START
    + r"(?:but )?(?:one|how about|what about|why not|why don't (?:you|we)|shall we|might I suggest|"
    r"may I suggest|can I (?:suggest|recommend|tempt you with|interest you in)|"
    r"have you (?:tried|considered|thought of))\b",
    ends=_NEAR,
)
ADDS = any_of(
    r"\balso (?:recommend|suggest|like|love|enjoy|offer|have|consider|try|take|pick|choose|go)",
    r"(?:^\W*|,\s+)(?:or\b|alternatively|otherwise|failing that|if not)",
    r"\b(?:could|can|might|may) (?:also|equally|just as well)\b",
    ends=_NEAR,
)
# "A beagle or a collie has the legs for it": two are offered, and well spoken of.
OFFERS_NEXT = re.compile(
    r"^\W*(?:has the|have the|would|will|could|(?:is|are|makes?|'d be) (?:an? |the |both |all )?"
    r"(?:good|great|best|better|fine|nice|lovely|ideal|perfect|classic|safe|popular|"
    r"favou?rites?))\b",
    re.IGNORECASE,
)
OR_ELSE = re.compile(
    r"(?:^\W*|,\s+)(?:and |but )?or,?\s+(?:(?:maybe|perhaps|possibly|even|else|the|an?|some|"
    r"rather|then again|wait),?\s+)*$",
    re.IGNORECASE,
)
ADDED_NEXT = any_of(
    r"^\W*(?:is|are|was|would be|'s) (?:also|another|an alternative|an? (?:\w+ ){0,2}second)\b",
    r"^[^,;.!?]*\b(?:too|as well)\W*$",
)
SECOND_NEXT = any_of(r"^\W*(?:is|are|would be|'s) (?:[\w-]+ ){0,3}second (?:option|choice)\b")
# "Neptune, the deep blue jewel …": a name and what it is, in answer to "Which?".
# "Okapi, and book early." "Whippet, obviously."
ANSWERS_NEXT = re.compile(
    r"^\W{0,2},\s+(?:(?:the|a|an|my|our|that|with)\b|(?!(?:and|or|but|not|too|I|you)\b)"
    r"[\w' -]{2,24}[.!]*$|"
    r"and (?!(?:the|an?|I|it|he|she|they|you|we|so|not|no|my|your|then|maybe|perhaps|also|too)\b))",
    re.IGNORECASE,
)
SERVES = any_of(
    r"\b(?:I|we)(?:'d|'ll| would| will| can| could| am|'m)(?: (?:be|like|love|happy|glad|delighted|"
    r"pleased|certainly|also|here))* (?:to )?(?:help|assist|tell|discuss|explain|talk|describe|"
    r"compare|answer|provide|share|offer)\b",
    r"\blet me (?:help|tell|explain|describe|compare|know)\b",
    ends=r".*$",
)
_KIN = (
    r"(?:(?:wife|husband|brother|sister|mother|father|mum|mom|dad|friend|crew|neighbou?r|son|"
    r"daughter|boss|aunt|auntie|uncle|cousin|nephew|niece|gran|granny|nan|grandma|grandpa|"
    r"grandmother|grandfather|partner|colleague|mate|flatmate|landlord|landlady|teacher|vicar|"
    r"priest|doctor|postman|captain|mayor|barber|butcher|baker)s?|children|kids|in-laws)"
)
OTHERS = any_of(
    # "You can carry a whippet" is no preference of yours, "you look like one" neither.
    r"(?<!off )(?<!up )(?<!in )\byou\W+(?:[\w'-]+\W+){0,3}?(?<!look )(?<!sound )(?<!feel )"
    r"(?:like|love|prefer|enjoy|choose|pick|drink|say|said|swear|insist|want|favou?r|go|find|hate|"
    r"might|may|could)(?:s|ed|d)?",
    r"(?<!off )(?<!up )(?<!in )\b(?:people|others|some|many|most|everyone|everybody|"
    r"they|he|she|users?|folks|anyone|kids|children|visitors|customers|guests|tourists|"
    rf"(?:my|his|her|our|their) (?:[\w-]+ ){{0,2}}{_KIN})\W+(?:[\w'-]+\W+){{0,3}}?(?:like|love|"
    r"prefer|enjoy|choose|pick|drink|say|said|tell you|swear|insist|want|favou?r|go|"
    r"find|might|may|could|can|would|hate)(?:s|ed|d)?",
    r"\b(?:I(?:'m| am) (?:also )?(?:told|assured|supposed to say)|they(?:'ve)? (?:tell|told|"
    r"asked?) (?:me|us))\b",
    r"\b(?:people|others|some|many|most|everyone|everybody|visitors|customers|guests|folks)\W+"
    r"(?:[\w'-]+\W+){0,3}?(?:start|take|use|opt|visit|play|wear|buy|order|stuck|sit|wait|bet|vote|"
    r"expect|ask|tell|recommend|suggest|advise|swear|look)(?:s|ed)?",
    # "because your aunt drinks it", but not "your aunt will love it"
    rf"\b(?:your|the|some(?:one's|body's)?|an?) (?:[\w-]+ ){{0,2}}{_KIN}\W+(?:\w+ )?(?:drinks?|"
    rf"drank|"
    r"likes?|liked|prefers?|preferred|swears?|swore|plays?|played|has|had|wears?|wore|chose|"
    r"chooses|picks|picked|takes|took|buys|bought|says|said|paints|painted|recommends|"
    r"recommended|told|tells|sold|sells|(?:will|would|may|might)(?: \w+)? (?:beg|ask|say|want|tell|"
    r"insist|suggest|vote|push|argue|shout|call|expect|recommend|swear|prefer))",
    r"\b(?:their|his|her|your|people's|everyone's|the (?:clever|smart|big|safe|public|popular|"
    r"sensible|"
    r"wise)) (?:money|votes?|choice|pick|favou?rite)(?:'s| is| goes| are| go)? (?:on|to|for|is)?",
    r"\byou(?:'ve| have| had)? (?:just )?(?:pressed|chose|chosen|picked|selected|asked for|wanted|"
    r"came (?:in )?for|come (?:in )?for|expected|hoped for|said|mentioned|ordered|named)",
    ends=_NEAR,
)
# "Everyone runs to the penguins", "half the street asked for green".
CROWD = any_of(
    r"(?:^|,)\W*(?:(?:and|but|so|sure|yes|of course),? )?(?:people|folks|everyone|everybody|others|"
    r"somebody|someone|half (?:the|my|of the) \w+|visitors|customers|guests|tourists|travellers|"
    r"beginners|experts|critics|coaches|grandmas|(?:my|the|our) (?:wife|husband|neighbou?rs?|vicar|"
    r"postman|doctor|boss|tourists|brochures?|guide ?books?|others))\b(?![^,;]* (?:should|must|"
    r"ought|needs? to|deserves?|is sent|are sent|ends? up|comes? back)\b)",
    ends=r"[^,;:]{0,80}$",
)
INSTANCE = any_of(r"\b(?:such as|for example|for instance|including|e\.g\.)", ends=NEXT)
# "I like cats, but honestly dogs more."
MORE_NEXT = any_of(
    r"^\W*(?:(?:a (?:bit|little)|even|far|much|still) )?(?:more|most|best|better|instead)\W*$"
)
LIKES_ALONE = any_of(
    r"^\W*(?:(?:but|and|honestly|really|actually|truly|I|we|like|love|prefer|enjoy|do|just)\W+)*$"
)
COMMITS_NEXT = any_of(
    r"^\W*(?:has|have|gets|got) me\W*$",
    r"^\W*(?:makes|made) me\b(?! (?:sick|shiver|restless|jittery|ill|sad|tired|angry|nervous|jumpy|"
    r"dizzy|sneeze|yawn))",
    r"^\W*for you\b(?! if)",
    r"^\W*(?:\w+ )?(?:deserves (?:to win|it|my)|should (?:win|get it)|gets (?:my|it)\b|takes (?:it|"
    r"the (?:cake|crown|prize))|is yours|edges it|has it\b|like me\b|as I (?:do|did|have)\b|"
    r"it shall be|and (?:nothing|nowhere|nobody|no one|none) (?:else|other)|or nothing|or (?:go|"
    r"stay) home|has my (?:vote|heart|money))",
    r"^\W*(?:it is,? )?of course\b",
    r"^\W*(?:no (?:contest|question|doubt|competition)|naturally|obviously|by a mile)\b",
    rf"^\W*(?:and |(?:and )?(?:it|that|this)(?:'s| is|'ll be| was)? ?)?(?:not|isn't|n't) "
    rf"{BEYOND_DOUBT}\b",
    r"^(?:\W*(?:is|was)|'s) (?:what|where|the one) I(?:'d|'ll| would| will|'m|"
    r" am)?(?: \w+)? (?:drink|eat|order|have|having|take|play|pick|choose|want|use|ride|visit|"
    r"recommend|live|read|wear|write)\b",
    r"^\W*(?:is|are|'s) the (?:[\w-]+ ){0,2}?\w+est (?:way|choice|option|route|bet|one)\b",
    r"^\W*(?:is|are|was|would be|will be|'s|'d be|remains|makes|would make|has to be)"
    r"(?: (?:by far|clearly|definitely|simply|surely|always|still|easily|really|truly|just))*"
    r" (?:(?:the|my|our|your) (?:[\w-]+ ){0,2}?(?:ideal|perfect|right|best|finest|safest|wisest|"
    r"obvious|most|choice|pick|option|answer|recommendation|bet)"
    r"|best|ideal|perfect|tailor-made|unbeatable)\b(?! (?:and|but|for (?:others|most|some|many)))",
    r"^\W*(?:(?!and (?:the|an?)\b)[\w'-]+\W+){0,6}?(?:(?:my|our)(?: [\w'-]+){0,3}? (?:favou?rite|"
    r"choice|answer|pick|preference|vote|heart|life|go-to)|for me|the (?:very )?best|"
    r"the one(?! for (?!me\b|you\b|us\b)| you \w+ (?:when|if|because|for)\b|"
    r" (?:on|at|in|by|behind|beside|next to|near|opposite|above|below) (?:the|your|it)\b"
    r"(?! (?:very )?top))|(?:this|that) one|the winner|wins|"
    r"any day|the (?:right |correct |only )?(?:answer|choice|option)|every time|"
    r"all the way|please|hands down|without (?:a )?doubt|always|forever|suits me|calls (?:to )?me|"
    r"(?:which is |that is |that's )?what (?:you're|you are|you'll be) (?:having|taking|getting)|"
    r"(?:that |what |which )?I(?:'d|'ll| would| will)?(?: \w+)? (?:choose|pick|prefer|love|like|"
    r"want|crave|go with|go for)|(?<!as )it is)\b",
)
PREFER_TO = re.compile(r"\bprefer\w*\b", re.IGNORECASE)
TO = re.compile(r"^\W*to\W+(?:[\w'-]+\W+){0,2}$", re.IGNORECASE)
# "Saturn's rings, Jupiter's storms or Neptune's blue" are side by side, too.
JOINED = re.compile(
    r"^(?:'s(?: [\w-]+){1,2}(?=,| and\b| or\b| &))?[\s,/&]*"
    r"(?:and|or|&|,|/|vs\.?|versus|as well as)?(?:\s+(?:a|an|the|some))?\s*$",
    re.IGNORECASE,
)
OR = re.compile(r"\b(?:or|vs|versus)\b", re.IGNORECASE)
OFFERED = any_of(
    r"\b(?:between|among|amongst|whether|either|options|choices|choose from|pick from|neither|"
    r"such as)",
    ends=NEXT[:-1] + r"?$",
)
_FILLERS = (
    "a an the some oh ah aye arr why well yes yeah sure please of course definitely certainly "
    "absolutely always easily simple obviously clearly surely cup mug glass my dear friend "
    "option answer choice for me then just only good old and number letter"
)
FILL = frozenset(_FILLERS.split())
