"""Freed memory: kept for the next large array, never while something still looks at it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from stcli import heap

SHAPE = (3, 4 << 20)  # 48 MB


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    heap.give_back()
    yield
    heap.give_back()


def place(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def kept() -> list[int]:
    return [block.size for block in heap._free]


def test_a_large_array_lies_where_the_last_one_lay() -> None:
    first = heap.empty(SHAPE, "float32")
    where = place(first)
    assert first.shape == SHAPE
    assert first.dtype == np.float32
    assert first.flags.c_contiguous
    del first
    assert place(heap.empty(SHAPE[::-1], "int32")) == where


@pytest.mark.parametrize("look", [lambda a: a[1:, ::2], torch.from_numpy, memoryview])
def test_memory_that_is_looked_at_is_not_free(look) -> None:
    array = heap.empty(SHAPE, "float32")
    view = look(array)
    del array
    assert not kept()
    del view
    assert kept() == [48 << 20]


def test_views_of_a_tensor_hold_its_memory() -> None:
    tensor = torch.from_numpy(heap.empty(SHAPE, "float32"))
    part = tensor.T.numpy()[5:]
    del tensor
    other = heap.empty(SHAPE, "float32")
    assert not np.shares_memory(part, other)


def test_small_arrays_are_left_to_numpy() -> None:
    heap.empty((4 << 20,), "uint8")
    assert not kept()
    assert heap.empty((0, 5), "float64").shape == (0, 5)


def test_a_block_serves_what_fills_half_of_it() -> None:
    heap.empty((160 << 20,), "uint8")
    assert heap.empty((80 << 20,), "uint8").size == 80 << 20
    assert kept() == [160 << 20]
    heap.empty((79 << 20,), "uint8")
    assert kept() == [79 << 20]  # what serves nothing that is asked for goes


def test_no_more_than_a_gibibyte_is_kept() -> None:
    arrays = [heap.empty((size << 20,), "uint8") for size in (400, 500, 600)]
    while arrays:
        arrays.pop(0)
    assert kept() == [600 << 20]
    heap.empty(((1 << 30) + 1,), "uint8")
    assert not kept()


def test_what_is_given_back_is_not_kept() -> None:
    heap.empty(SHAPE, "float32")
    heap.give_back()
    assert not kept()


def test_threads_never_share_a_block() -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        for turn in range(20):
            array = heap.empty((33 << 20,), "uint8")
            array[:: 1 << 16] = number * 20 + turn
            if (array[:: 1 << 16] != number * 20 + turn).any():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert sum(kept()) <= 1 << 30
