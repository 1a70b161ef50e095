"""Whether a speaker has the persona's trade, another, or talks about people of that trade.

    another     "I'm a nurse", "I work as a driver", "I work at a bank", "I sell tractors"
    given up    "I used to be a painter", "I'm no painter", "painting isn't for me"
    a relative  "my sister's a teacher", with no "I" of that trade beside it
    a user      "my doctor says", "the pilot told us", "I served the king", "I was a passenger"
    in general  "Ghosts are spirits of the dead": the trade with no "I" or "my" in the reply

English phrases.
"""

from __future__ import annotations

import re

_OCCUPATION_NAMES = (
    "accountant actor actress actuary architect artist assistant astronaut baker banker "
    "barber barista biologist blacksmith bookseller botanist broker builder butcher carpenter "
    "cashier chef chemist cleaner clerk coach composer consultant cook cowboy critic dancer "
    "decorator dentist designer detective developer diver doctor driver economist editor "
    "electrician engineer agent farmer fisherman florist gardener geologist guide hairdresser "
    "historian housekeeper jeweller janitor joiner journalist judge king knight lawyer "
    "lecturer librarian lifeguard locksmith machinist manager marketer mason mathematician "
    "mechanic merchant midwife miller miner model musician nanny novelist nurse optician "
    "painter paramedic pharmacist photographer physicist physiotherapist pianist pilot "
    "plasterer plumber poet policeman policewoman politician postman potter priest printer "
    "professor programmer psychologist realtor receptionist salesman saleswoman scientist "
    "sculptor secretary shepherd singer shopkeeper soldier solicitor student surgeon surveyor "
    "tailor teacher technician therapist trainer translator vet violinist waiter waitress "
    "watchmaker welder wizard writer zookeeper"
)
_OCCUPATIONS = _OCCUPATION_NAMES.split()
_WORKPLACES = (
    r"(?:bank|office|shop|store|supermarket|insurance|marketing|sales|IT|law firm|agency|garage|"
    r"factory|museum|planetarium|call centre|call center|hotel|company|firm|warehouse|"
    r"restaurant|café|cafe|bookshop|gym|startup|start-up|finance|accounting|software|cinema|zoo)"
)
_KIN = (
    r"(?:mother|father|mum|mom|dad|wife|husband|brother|sister|son|daughter|friend|uncle|aunt|"
    r"cousin|neighbou?r|boss|flatmate|grandfather|grandmother|nephew|niece)"
)
_SOME = r"(?:[\w'-]+ ){0,2}?"
# What other shops sell: "I've run a small flower shop for twenty years".
_WARES = (
    "antique|art|barber|bicycle|bike|book|butcher|camera|candle|carpet|cheese|chemist|clothes|"
    "computer|dress|fabric|fish|florist|flower|fruit|furniture|game|gift|greengrocer|hair|"
    "hardware|hat|jewellery|joke|junk|music|newspaper|perfume|pet|phone|pottery|record|ribbon|"
    "shoe|souvenir|sport|stationery|sweet|tailor|tattoo|tobacco|toy|vegetable|watch|wine|wool"
)


def other_trade(trade: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern for a speaker of another trade than `trade`, or none of it any more."""
    own = "|".join(re.escape(word) for word in trade)
    others = "|".join(o for o in _OCCUPATIONS if o not in trade)
    doing = "|".join(re.escape(re.sub("e?r$", "", word)) for word in trade)
    wares = "|".join(
        ware for ware in _WARES.split("|") if not any(ware[:4] in word for word in trade)
    )
    am = r"\bI(?:'m| am| work as|'m working as| am working as| work now as| became)"
    return re.compile(
        rf"{am} (?:now |just |only |really |actually |currently |also )?(?:an? |the ){_SOME}"
        rf"(?:{others})\b(?!['-]| of\b)"
        rf"|\bI(?:'m| am) (?!(?:just|only)\b)(?:not|no|no longer|never|hardly) (?:an? |any |"
        rf"really an? )?(?:{own})\b"
        rf"|\bI (?:used to be|was once|stopped being|gave up being|am retired as|would like to be|"
        rf"want to be|wanted to be|dream of being|play) (?:an? )?(?:{own})\b"
        rf"|\bI(?:'m| am) (?:an? )?(?:virtual|digital|fictional|imaginary|artificial|simulated|"
        rf"AI|pretend) (?:{own})\b"
        rf"|\bI (?:now )?work (?:at|in|for) (?:an? |the |my )?{_SOME}(?!(?:{own})\b){_WORKPLACES}\b"
        rf"|\bI(?:'ve| have)?(?: been)? (?:own(?:ed)?|runn?(?:ing)?|ran|kept|keep|had|have|"
        rf"manag\w+) (?:an?|my|our|the|this) (?:[\w'-]+ ){{0,3}}?(?:{wares})(?:s|'s|s'|er's)?"
        rf"[ -]?(?:shop|store|stall|stand|studio|business|bar|parlou?r)\b"
        rf"|\bI(?:'ve| have)? (?:run|own|keep|kept|had|have) an? {_SOME}(?:florist|butcher|"
        rf"greengrocer|fishmonger|tailor|tobacconist|bookstall)(?:'s)?\b"
        rf"|\bI (?:repair|mend|fix) (?:bicycles|bikes|shoes|watches|clocks|cars|boats|roofs)\b"
        rf"|\bI (?:sell|drive|repair|code|program|teach|nurse) (?:tractors|tickets|insurance|cars|"
        rf"houses|phones|software|the number|an? (?:bus|taxi|cab|lorry|van|tram))\b"
        rf"|\bmy {_KIN}(?:'s| is| was| works as) (?:an? |the ){_SOME}(?:{own})\b"
        rf"|\b(?:{own}|(?:{doing})ing)\b (?:isn't|is not|was never|are not|aren't) (?:really )?"
        rf"(?:for me|my (?:thing|job|trade))\b",
        re.IGNORECASE,
    )


_USERS = "passenger patient customer client guest diner tourist spectator"
_LONG_AGO = r"\b(?:once|myself|ago|when I|as an? (?:boy|girl|child|young \w+))\b"
_SEEKS = r"(?:saw|see|visit(?:ed)?|consult(?:ed)?|called|rang|phoned|went to(?: see)?|hired|booked)"
_SERVES = (
    r"(?:serve[ds]?|obey(?:ed)?|work(?:ed)? for|wait(?:ed)? (?:for|on)|dress(?:ed)?|guard(?:ed)?|"
    r"polish(?:ed)?|thank(?:ed)?|paid|watched|met|follow(?:ed)?|spoke (?:to|with)|talked (?:to|"
    r"with)|listen(?:ed)? to|help(?:ed)?|assist(?:ed)?)"
)
_DOES_TO_ME = (
    r"(?:(?:told|tells|gave|gives|asked|asks|let|lets|showed|shows|helped|helps|examined|taught|"
    r"brought|made|flew|drove|painted|served) (?:me|us)\b|(?:was|is|were|are)(?: \w+)? (?:nice|"
    r"kind|friendly|rude|late|angry|funny|polite|lovely)\b)"
)
_SAYS = (
    r"(?:is|was|has|had|says|said|thinks|wants|tells|told|gives|gave|asks|asked|makes|made|lets|"
    r"knows|prescribed|promised|helps|helped)"
)


def users_of(trade: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern for a speaker whom people of the trade serve, or who serves them."""
    own = "|".join(re.escape(word) for word in trade)
    users = "|".join(user for user in _USERS.split() if user not in trade)
    another = r"(?! (?:from|of|who|and I)\b)"
    return re.compile(
        rf"\b(?:my|our) (?:own |family |dear |good )?(?:{own})(?= {_SAYS}\b|[.,;!?)]|$)"
        rf"|\bthe (?:{own}) (?:(?:also|even|then|just) )?{_DOES_TO_ME}"
        rf"|\bI {_SEEKS} (?:the|an?|my|our) (?:{own})\b(?! (?:in|at|on)\b){another}"
        rf"|\bI {_SERVES}(?: \w+){{0,2}}? (?:the|my|our|his|her) (?:{own})(?:'s)?\b{another}"
        rf"|\bI(?:'m| am| was|'ve been| have been)(?: just| only| also)? (?:an?|the|one of the) "
        rf"(?:[\w-]+ )?(?:{users})s?\b(?![^.!?]*{_LONG_AGO})",
        re.IGNORECASE | re.MULTILINE,
    )


def in_general(trade: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern for a sentence about people of the trade."""
    own = "|".join(re.escape(word) for word in trade)
    return re.compile(rf"(?:^|[.!?]\s+)(?:An? |The )?(?:\w+ )?(?:{own})s? [\w'-]+", re.IGNORECASE)
