"""Put the statements of one sentence into words."""

from __future__ import annotations

from .devices import DEVICE_CHANGE, TOGETHER, TOGETHER_SAME, predicates
from .draws import Draws
from .lexeme import DEGREE_ADVERBS
from .lexicon import LEXICON
from .negatives import NORMALS
from .phrases import contrasted_phrase, noun_phrase
from .statements import Sentence, Statement
from .wording import (
    ALTERNATIVES,
    CHANGE_WORDS,
    CLAUSE_TAILS,
    CONJOINED,
    CONSISTENT,
    DENIED,
    OTHERWISE_CLEAR,
    PRESENT,
    REMOVED,
    RESOLVED,
    SIDE_CLEAR,
    UNCERTAIN,
    UNCERTAIN_COMPARED,
)


_CLAUSE_RATE = 0.55
# The same clauses as hedges.
_MAY_BE = {
    finding: tuple(
        clause.replace(" is {", " may be {").replace(" are {", " may be {")
        for clause in entry.clauses
        if " is {" in clause or " are {" in clause
    )
    for finding, entry in LEXICON.items()
}


def realise(draws: Draws, sentence: Sentence, manner: str, *, labelled: bool = False, additional: bool = False) -> str:
    """
    Write one sentence.

    Args:
        draws (`Draws`): Where to draw from.
        sentence (`tuple[Statement, ...]`): What it says.
        manner (`str`): `"terse"`, `"plain"`, `"formal"`, or `"summary"` for an impression.
        labelled (`bool`): Whether it stands behind the label of its organ.
        additional (`bool`): Whether the same finding has been stated before.

    Returns:
        `str`: Without a capital and without a full stop.
    """
    first = sentence[0]
    if first.polarity == "absent":
        return _absent(draws, sentence, manner, labelled=labelled)
    if len(sentence) == 1:
        if first.polarity == "uncertain":
            return _uncertain(draws, first, manner)
        if LEXICON[first.finding].organ == "devices":
            return _device(draws, first, manner)
        return _present(draws, first, manner, additional=additional)
    if LEXICON[first.finding].organ == "devices":
        return _devices(draws, sentence)
    if first.polarity == "uncertain":
        readings = noun_phrase(draws, first, plain=True), noun_phrase(draws, sentence[1], plain=True, placed=False)
        return draws.pick(ALTERNATIVES).format(first=readings[0].bare, second=readings[1].bare)
    if first.finding == sentence[1].finding:
        phrase = contrasted_phrase(draws, first, sentence[1])
        tail = draws.pick(CLAUSE_TAILS[first.change]) if first.change else ""
        return phrase.fill(draws.pick(PRESENT[manner])) + tail
    return _conjoined(draws, sentence, manner)


def _present(draws: Draws, statement: Statement, manner: str, *, additional: bool) -> str:
    entry = LEXICON[statement.finding]
    placed = statement.side is not None or statement.region is not None
    if entry.clauses and not placed and draws.chance(_CLAUSE_RATE):
        return _clause(draws, statement, entry.clauses)
    if statement.change is None:
        adjective = "additional" if additional else ""
        phrase = noun_phrase(draws, statement, adjective=adjective)
        if entry.diagnosis and not adjective and draws.chance(0.12):
            phrase = noun_phrase(draws, statement, plain=True)
            return phrase.fill(draws.pick(PRESENT[manner] if phrase.plural else CONSISTENT))
        return phrase.fill(draws.pick(PRESENT[manner]))

    words = CHANGE_WORDS[entry.change][statement.change]
    way = draws.random()
    adjectives, tails = (0.6, 0.85) if manner in ("terse", "summary") else (0.4, 0.65)
    if way < adjectives:
        phrase = noun_phrase(draws, statement, adjective=draws.pick(words.adjectives))
        return phrase.fill(draws.pick(PRESENT[manner]))
    phrase = noun_phrase(draws, statement)
    if way < tails:
        return phrase.fill(draws.pick(PRESENT[manner])) + draws.pick(words.tails)
    return phrase.fill(draws.pick(words.sentences))


def _clause(draws: Draws, statement: Statement, clauses: tuple[str, ...]) -> str:
    degree = f"{draws.pick(DEGREE_ADVERBS[statement.severity])} " if statement.severity else ""
    tail = draws.pick(CLAUSE_TAILS[statement.change]) if statement.change else ""
    return draws.pick(clauses).format(degree=degree) + tail


def _uncertain(draws: Draws, statement: Statement, manner: str) -> str:
    entry = LEXICON[statement.finding]
    placed = statement.side is not None or statement.region is not None
    if _MAY_BE[statement.finding] and not placed and manner != "summary" and draws.chance(_CLAUSE_RATE):
        return _clause(draws, statement, _MAY_BE[statement.finding])
    if statement.change is None:
        frames = UNCERTAIN_COMPARED if entry.organ == "devices" else UNCERTAIN[manner]
        return noun_phrase(draws, statement, plain=True).fill(draws.pick(frames))
    words = DEVICE_CHANGE[statement.change] if entry.change == "device" else None
    tails = words or CHANGE_WORDS[entry.change][statement.change].tails
    return noun_phrase(draws, statement, plain=True).fill(draws.pick(UNCERTAIN_COMPARED)) + draws.pick(tails)


def _device(draws: Draws, statement: Statement, manner: str) -> str:
    fresh = statement.change == "new" and draws.chance(0.5)
    if fresh and statement.position is None and statement.region is None:
        return f"interval placement of {noun_phrase(draws, statement).np}"
    phrase = noun_phrase(draws, statement, adjective="new" if fresh else "")
    options = predicates(statement.finding, statement.position, statement.region, plural=phrase.plural)
    predicate = draws.pick(options).replace("{be}", phrase.be)
    if statement.change and not fresh:
        # "Low lying, unchanged; retraction is advised": what has not changed is the place, not the advice.
        place, semicolon, advice = predicate.partition(";")
        predicate = f"{place}{draws.pick(DEVICE_CHANGE[statement.change])}{semicolon}{advice}"
    if manner in ("terse", "summary"):
        # Telegrams drop the verb: "Endotracheal tube in satisfactory position".
        predicate = predicate.removeprefix("is ").removeprefix("are ")
        predicate = predicate.replace("has its tip", "with tip").replace("has its leads", "with leads")
        return f"{phrase.bare} {predicate}"
    known = statement.position is not None and not fresh and draws.chance(0.4)
    return f"{f'the {phrase.bare}' if known else phrase.np} {predicate}"


def _devices(draws: Draws, sentence: Sentence) -> str:
    names = [noun_phrase(draws, statement).bare for statement in sentence]
    return f"{listed(names, 'and')} {draws.pick(TOGETHER_SAME if sentence[0].change else TOGETHER)}"


def _conjoined(draws: Draws, sentence: Sentence, manner: str) -> str:
    first, second = (noun_phrase(draws, statement) for statement in sentence)
    bare = f"{first.bare} and {second.bare}"
    template = draws.pick(CONJOINED[manner])
    return template.format(bare=bare, np=f"{first.np} and {second.np}", first=first.be)


def _absent(draws: Draws, sentence: Sentence, manner: str, *, labelled: bool) -> str:
    first = sentence[0]
    if first.topic is None:
        names = [draws.pick(LEXICON[statement.finding].denied) for statement in sentence]
        return draws.pick(DENIED[manner]).format(list=listed(names, "or", oxford=draws.chance(0.6)))
    if first.topic == "side_clear":
        return draws.pick(SIDE_CLEAR).format(side=first.side)
    if first.topic == "otherwise_clear":
        return draws.pick(OTHERWISE_CLEAR)
    if first.topic == "resolved":
        entry = LEXICON[first.finding]
        options = REMOVED if entry.organ == "devices" else RESOLVED
        return draws.pick(options).format(noun=entry.nouns[0].singular)
    normal = NORMALS[first.topic]
    return draws.pick(normal.brief if labelled and normal.brief else normal.texts)


def listed(names: list[str], conjunction: str, *, oxford: bool = True) -> str:
    """`"a, b, or c"`."""
    if len(names) < 3:
        return f" {conjunction} ".join(names)
    return f"{', '.join(names[:-1])}{',' if oxford else ''} {conjunction} {names[-1]}"
