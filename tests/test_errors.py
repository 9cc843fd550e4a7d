"""Names in messages: few of many."""

from __future__ import annotations

import pytest

from stcli.errors import apart, few


def test_few_names_of_many():
    assert few(()) == ""
    assert few(("a", "b", "c", "d")) == "a, b, c, d"
    assert few("abcdef") == "a, b, c, d and 2 more"


@pytest.mark.parametrize(
    ("found", "wanted", "told"),
    [
        ("ab", "ac", ("a, b", "a, c")),
        ("", "ac", ("", "a, c")),
        ("abcdefgh", "abcdefgh", ("a, b, c, d and 4 more", "a, b, c, d and 4 more")),
        ("abcdefgh", "abcdexgh", ("…, f, g, h", "…, x, g, h")),
        ("abcdef", "abcdefghijk", ("…, f", "…, f, g, h, i and 2 more")),
        ("", "abcdef", ("", "a, b, c, d and 2 more")),
    ],
)
def test_two_lists_are_told_from_where_they_part(found, wanted, told):
    assert apart(found, wanted) == told
