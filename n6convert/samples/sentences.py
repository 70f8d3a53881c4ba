"""Made-up English sentences from a small grammar."""

from __future__ import annotations

import numpy as np

__all__ = ["sentence"]

_WORDS = {
    "thing": "film story plot cast script camera music ending price service room battery train weather garden engine "
    "report window teacher market river phone doctor city",
    "quality": "wonderful dull careful strange brilliant slow funny bitter honest empty bright cheap heavy quiet "
    "broken gentle loud useful ugly warm",
    "degree": "very rather quite hardly surprisingly never really almost",
    "act": "moves bores surprises follows misses explains forgets carries breaks improves finds hides opens watches",
}
_CHOICES = {kind: words.split() for kind, words in _WORDS.items()}
_CHOICES["who"] = ["we", "they", "critics", "nobody", "everybody", "my brother", "the director", "most people"]
_CHOICES["when"] = ["yesterday", "in the end", "after two hours", "last summer", "for the first time", "every week"]
_FORMS = (
    "the {thing} is {degree} {quality} .",
    "{who} said that the {thing} {act} the {quality} {thing} , but the {thing} was {degree} {quality} {when} .",
    "{quality} , {quality} and {degree} {quality} !",
    "{when} , the {quality} {thing} {act} a {thing} that {who} had {degree} expected .",
    "a {quality} {thing} with a {degree} {quality} {thing} .",
    "why would {who} want a {thing} that {act} every {quality} {thing} and a {thing} that never {act} the {thing} ?",
    "{quality} {thing}",
)


def sentence(rng: np.random.Generator) -> str:
    """One to three clauses, 2 to about 60 words; lengths vary as those of short reviews do."""
    count = int(rng.choice([1, 1, 1, 2, 3]))
    return " ".join(_clause(rng) for _ in range(count))


def _clause(rng: np.random.Generator) -> str:
    form = _FORMS[int(rng.integers(len(_FORMS)))]
    words = []
    for word in form.split():
        kind = word.strip("{}")
        words.append(str(rng.choice(_CHOICES[kind])) if word.startswith("{") else word)
    return " ".join(words)
