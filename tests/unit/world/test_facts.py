"""Word lists of the generated world: nothing a question says gives its answer away."""

from __future__ import annotations

import pytest
from small_world import small

from optimer.world.facts import LANGUAGES, facts


@pytest.mark.parametrize("code", list(LANGUAGES))
def test_a_value_is_no_other_attribute_value_and_no_other_word(code: str):
    language = LANGUAGES[code]
    attributes = [*language.person, *language.place]
    values = [value for attribute in attributes for value in attribute.values]
    assert len(values) == len(set(values)) == 80
    said = " ".join([*language.statements, *language.questions, *language.fillers])
    said += " ".join(attribute.noun for attribute in attributes)
    said += " ".join(word for words in language.slots for word in words)
    said += " ".join(fact.name for fact in facts(small(n_people=34, n_places=34), code))
    words = set(said.split()) if language.space else set(said)
    assert not words & set(values)


def test_names_are_told_apart_by_language_kind_and_group():
    for code in LANGUAGES:
        found = facts(small(n_people=34, n_places=34, n_known=25), code)
        assert len(found) == (34 + 34 + 2 * 25) * 5
        assert len({fact.name for fact in found}) == 34 + 34 + 2 * 25
        assert sum(fact.group == "known" for fact in found) == 250
        assert {fact.asked_form for fact in found} == {0, 1, 2}
