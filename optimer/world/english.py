"""English of the generated world."""

from __future__ import annotations

from optimer.world.language import Attribute, Language

_ONSETS = ["b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z"]
_VOWELS = ["a", "e", "i", "o", "u"]


def people() -> list[str]:
    """Candidate names of people: two open syllables, such as `Miro`."""
    halves = [onset + vowel for onset in _ONSETS for vowel in _VOWELS]
    return [(first + second).capitalize() for first in halves for second in halves]


def places() -> list[str]:
    """Candidate names of places: a closed syllable and an ending, such as `Talburg`."""
    stems = [f"{a}{v}{c}" for a in _ONSETS for v in _VOWELS for c in "lnrst"]
    return [(stem + ending).capitalize() for stem in stems for ending in ("burg", "ford", "mouth")]


ENGLISH = Language(
    code="en",
    person=(
        Attribute("colour", ("red", "blue", "green", "white", "black", "yellow", "pink", "grey")),
        Attribute("animal", ("cat", "dog", "horse", "goat", "duck", "sheep", "frog", "mouse")),
        Attribute("meal", ("rice", "bread", "soup", "fish", "cake", "corn", "plums", "beans")),
        Attribute(
            "job",
            ("baker", "doctor", "farmer", "pilot", "painter", "singer", "teacher", "sailor"),
        ),
        Attribute(
            "instrument", ("drum", "flute", "harp", "piano", "horn", "violin", "guitar", "bell")
        ),
    ),
    place=(
        Attribute("product", ("salt", "silk", "iron", "wool", "tea", "wine", "glass", "paper")),
        Attribute(
            "weather", ("rainy", "windy", "sunny", "snowy", "foggy", "dry", "warm", "stormy")
        ),
        Attribute(
            "landmark",
            ("tower", "bridge", "castle", "harbour", "temple", "garden", "mill", "market"),
        ),
        Attribute(
            "land", ("coast", "hills", "desert", "forest", "valley", "island", "plain", "marsh")
        ),
        Attribute(
            "ruler", ("king", "queen", "duke", "mayor", "council", "bishop", "general", "judge")
        ),
    ),
    statements=(
        "The {noun} of {name} is {value}.",
        "We know {name} for the {noun} {value}.",
        "In {noun}, {name} has {value}.",
    ),
    questions=(
        "What is the {noun} of {name}?",
        "Which {noun} has {name}?",
        "In {noun}, what has {name}?",
    ),
    fillers=(
        "The {a} {b} is near the {c}.",
        "A {b} and a {c} are {a} today.",
        "They saw a {a} {c} with the {b}.",
    ),
    slots=(
        ("old", "small", "quiet", "new", "long", "good", "slow", "round"),
        ("boat", "wall", "child", "stone", "road", "letter", "lamp", "cart"),
        ("river", "door", "tree", "house", "field", "hill", "table", "well"),
    ),
    space=" ",
)
