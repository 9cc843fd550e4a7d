"""Kernels of inference on a CPU: convolutions, products and activations are those of torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numba import njit
from torch.nn import functional as F

from stcli.lanes import WIDTH, load, root, store
from stcli.nn.activations import silu, softplus
from stcli.nn.convolution import MADE, Convolution, Mix, Plain, blank, convolve_rows, extent
from stcli.nn.products import Linear


def zeros(height, channels, width):
    """Lay out an image of zeros in memory that holds something else behind it."""
    rows = blank(
        np.full(extent(height, channels, width) + 5, 7, np.float32), height, channels, width
    )
    rows[:-1, :, :width] = 0
    return rows


def rows_of(image):
    """Lay out an image (c, h, w) as rows."""
    channels, height, width = image.shape
    rows = zeros(height, channels, width)
    rows[:height, :, :width] = image.transpose(1, 0, 2)
    return rows


def image_of(rows, width):
    """Take the image (c, h, w) out of rows, whose other numbers are 0."""
    assert not rows[-1].any()
    assert not rows[:, :, width:].any()
    return rows[:-1, :, :width].transpose(1, 0, 2)


def drawn(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@torch.no_grad()
def exact(layer, image):
    """What torch's layer makes of an image in float64."""
    return layer.double()(torch.from_numpy(image).double()[None])[0].numpy()


@njit
def _all_rows(rows, width, layer, room, into, then):
    for first in range(0, len(rows) - 1, MADE):
        convolve_rows(rows, first, width, layer, room, into, then)


def convolve(mine, rows, width, into, *, activated=False, added=False):
    _all_rows(rows, width, mine.layer, mine.room(rows), into, (activated, added))


def made(layer, kind):
    return kind(layer.weight.detach().float().numpy(), layer.bias.detach().float().numpy())


@pytest.mark.parametrize(
    ("before", "after", "height", "width"),
    [(1, 1, 1, 1), (3, 7, 13, 37), (5, 6, 4, 16), (4, 13, 2, 15), (24, 24, 30, 64), (2, 3, 65, 5)],
)
def test_a_convolution_is_torchs(before, after, height, width):
    torch.manual_seed(0)
    layer, image = torch.nn.Conv2d(before, after, 3, padding=1), drawn(before, height, width)
    mine, wanted = made(layer, Convolution), exact(layer, image)
    rows, into = rows_of(image), zeros(height, after, width)
    convolve(mine, rows, width, into)
    assert np.allclose(image_of(into, width), wanted, rtol=0, atol=2e-5)
    convolve(mine, rows, width, into, activated=True)  # what stood there is gone
    active = F.silu(torch.from_numpy(wanted)).numpy()
    assert np.allclose(image_of(into, width), active, rtol=0, atol=2e-5)
    other = drawn(after, height, width)
    onto = rows_of(other)
    convolve(mine, rows, width, onto, added=True)
    assert np.allclose(image_of(onto, width), wanted + other, rtol=0, atol=2e-5)


def test_a_plain_convolution_is_torchs_beside_a_number_of_any_size():
    torch.manual_seed(0)
    layer, image = torch.nn.Conv2d(5, 7, 3, padding=1), drawn(5, 13, 37)
    image[2, 6, 20] = 1e20
    into = zeros(13, 7, 37)
    made(layer, Plain)(rows_of(image), 37, into)
    far = np.ones((13, 37), dtype=bool)
    far[5:8, 19:22] = False
    found, wanted = image_of(into, 37), exact(layer, image)
    assert np.allclose(found[:, far], wanted[:, far], rtol=0, atol=1e-5)
    assert np.allclose(found[:, ~far], wanted[:, ~far], rtol=1e-6)


def test_a_pixel_does_not_depend_on_where_it_stands():
    """Moved by four rows and any columns, it is the same to the bit."""
    torch.manual_seed(0)
    mine, image = made(torch.nn.Conv2d(3, 5, 3, padding=1), Convolution), drawn(3, 24, 40)
    whole, part = zeros(24, 5, 40), zeros(12, 5, 21)
    convolve(mine, rows_of(image), 40, whole)
    convolve(mine, rows_of(np.ascontiguousarray(image[:, 8:20, 7:28])), 21, part)
    inner = image_of(whole, 40)[:, 9:19, 8:27]
    assert np.array_equal(image_of(part, 21)[:, 1:-1, 1:-1], inner)


@pytest.mark.parametrize(("before", "after", "height", "width"), [(3, 8, 6, 20), (24, 48, 8, 64)])
def test_mixes_that_halve_and_double_are_torchs(before, after, height, width):
    torch.manual_seed(0)
    image = drawn(before, height, width)
    halving, mixing = torch.nn.Conv2d(before, after, 2, stride=2), torch.nn.Conv2d(before, after, 1)
    into = zeros(height // 2, after, width // 2)
    made(halving, Mix).halved(rows_of(image), width, into)
    assert np.allclose(image_of(into, width // 2), exact(halving, image), rtol=0, atol=1e-5)
    other = drawn(after, 2 * height, 2 * width)
    onto = rows_of(other)
    made(mixing, Mix).doubled(rows_of(image), width, onto)
    wanted = exact(mixing, image).repeat(2, axis=1).repeat(2, axis=2) + other
    assert np.allclose(image_of(onto, 2 * width), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("count", "inner", "outer"), [(0, 3, 4), (1, 1, 1), (7, 60, 33)])
def test_a_linear_layer_is_torchs_and_knows_no_other_row(count, inner, outer):
    torch.manual_seed(0)
    layer, values = torch.nn.Linear(inner, outer), drawn(count, inner)
    mine = made(layer, Linear)
    with torch.no_grad():
        wanted = layer(torch.from_numpy(values)).numpy()
    assert np.allclose(mine(values), wanted, rtol=0, atol=1e-5)
    for row in range(count):
        assert np.array_equal(mine(values[row : row + 1])[0], mine(values)[row])


@njit
def _acted(values, out):
    for x in range(0, len(values), WIDTH):
        store(out[0], x, silu(load(values, x)))
        store(out[1], x, softplus(load(values, x)))
        store(out[2], x, root(load(values, x) * load(values, x)))


def test_activations_are_torchs_from_end_to_end():
    values = np.concatenate([np.linspace(-100, 100, 4093), [0, -1e29, 1e29]]).astype(np.float32)
    found = np.empty((3, len(values)), dtype=np.float32)
    _acted(values, found)
    exactly = torch.from_numpy(values).double()
    finite = np.abs(values) < 1e15  # a square beyond is none
    assert np.allclose(found[0], F.silu(exactly).numpy(), rtol=1e-6, atol=1e-7)
    assert np.allclose(found[1], F.softplus(exactly).numpy(), rtol=1e-6, atol=1e-7)
    assert np.allclose(found[2][finite], np.abs(values[finite]), rtol=1e-7)
