"""Rounds that follow each other down a block see what they would see one after the other."""

from __future__ import annotations

import pytest

from stcli.segmentation.superpixels.waves import held, waves

ROUNDS = {
    "one round": [range(0, 5)],
    "no core": [range(0, 40)] * 10,
    "one row": [range(0, 1)] * 10,
    "towards a core": [range(k, 60 - k) for k in range(0, 20, 2)],
    "at an edge": [range(0, 60 - k) for k in range(0, 20, 2)],
}


@pytest.mark.parametrize("rounds", ROUNDS.values(), ids=ROUNDS)
def test_every_row_sees_the_centres_of_its_own_round(rounds):
    """Of each row, how many rounds have chosen and how many have moved its centres."""
    chosen, moved = [0] * 60, [0] * 60

    def beside(row: int, rows: range) -> range:
        return range(max(row - 1, rows.start), min(row + 2, rows.stop))

    for k, (first, last), (begin, end) in waves(rounds):
        for row in range(first, last):
            assert chosen[row] == k
            assert all(moved[other] == k for other in beside(row, rounds[k]))
            chosen[row] = k + 1
        for row in range(begin, end):
            assert moved[row] == k
            assert all(chosen[other] == k + 1 for other in beside(row, rounds[k]))
            moved[row] = k + 1
    for row in range(60):
        assert chosen[row] == moved[row] == sum(row in rows for rows in rounds)


@pytest.mark.parametrize("rounds", ROUNDS.values(), ids=ROUNDS)
def test_a_row_is_held_until_its_last_round(rounds):
    """The first round puts each row where others may have been that are done."""
    some = held(len(rounds), 60)
    assert some == 60 or some < 8 + 2 * len(rounds) + 1
    places = [-1] * some
    for k, (first, last), _ in waves([range(60), *rounds[1:]]):
        for row in range(first, last):
            if k == 0:
                places[row % some] = row
            assert places[row % some] == row


def test_rounds_follow_each_other():
    assert next(k for k, _, _ in list(waves([range(100)] * 10))[1:]) == 1
