"""Every message of docs/errors.md has a test that provokes it."""

from __future__ import annotations

import pytest
from provoked import score, templates, unprovoked


@pytest.mark.long
def test_every_message_has_a_test_that_looks_for_it():
    assert unprovoked() == []


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("no such file", 12),
        ("scene.tif: no such file", 14),
        ("scene.tif: no such file; check the", 25),
        ("no such folder", 0),
        ("check no such file", 0),
    ],
)
def test_a_string_fits_a_message_where_it_is_a_stretch_of_it(text, own):
    assert score(text, "{…}: no such file; check the name") == own


def test_messages_are_found():
    assert len(templates()) > 250
