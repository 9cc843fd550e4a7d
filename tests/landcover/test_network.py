"""The network and its predictions: nodata stays out, and tiling does not show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from stcli.engine.tiling import TilePlan
from stcli.errors import ModelError
from stcli.landcover.accuracy.tempering import temper
from stcli.landcover.network.channelnorm import ChannelNorm
from stcli.landcover.network.moments import moments
from stcli.landcover.network.network import GLocal, Windows, pack
from stcli.landcover.network.network_method import used_part
from stcli.landcover.network.neural import batch, window_bytes
from stcli.landcover.network.tokens import SHAPE_FEATURES, Tokens, tokenise
from stcli.landcover.network.windows import Scene, Window, cut
from stcli.landcover.prediction import classes, load_model, uncertainty
from stcli.nn.device import compute
from stcli.segmentation.space import LabelSpace
from stcli.segmentation.superpixels.slic import Block, halo, slic
from stcli.settings import BandScaling, NetworkSettings, SlicSettings

SCALING = BandScaling((0.0, 0.0), (1.0, 2.0))
STEP = 4


def window(seed=0, side=32, valid=None) -> Window:
    rng = np.random.default_rng(seed)
    valid = rng.random((side, side)) < 0.9 if valid is None else valid
    row, col = np.mgrid[:side, :side] // STEP
    labels = np.where(valid, row * (side // STEP) + col + 1, 0)
    values = np.where(valid, rng.random((2, side, side)), 0).astype(np.float32)
    return Window(values, valid, labels, (-8, 24))


@pytest.fixture
def network(tiny) -> GLocal:
    torch.manual_seed(1)
    return GLocal(2, 3, tiny).eval()


@torch.no_grad()
def logits(network, *windows):
    return network(batch(windows, SCALING, STEP))


# --- nodata and windows -------------------------------------------------------------------------


def test_shapes(network):
    pixels, tokens = logits(network, window(0), window(1))
    assert pixels.shape == (2, 3, 32, 32)
    assert tokens.shape == (128, 3)
    assert torch.isfinite(pixels).all()


def test_a_window_is_classified_alike_whatever_stands_beside_it(network):
    alone, _ = logits(network, window(0))
    beside = [logits(network, window(0), window(n))[0][0] for n in (1, 2)]
    assert torch.equal(beside[0], beside[1])  # another neighbour changes no bit
    # a batch of another size may be summed in another order
    assert torch.allclose(alone[0], beside[0], rtol=1e-4, atol=1e-5)


def test_a_pixel_beyond_the_receptive_field_changes_nothing(network):
    """Without tokens, the CNN alone: a quarter's residual ends at pixel 16 from a corner."""
    bare = window(0)
    empty = Window(bare.values, bare.valid, np.zeros_like(bare.segments), bare.lattice)
    changed = Window(bare.values.copy(), bare.valid, empty.segments, bare.lattice)
    changed.values[:, 0, 0] += 5
    before, after = logits(network, empty)[0], logits(network, changed)[0]
    differs = (before != after).any(dim=1)[0]
    assert differs[0, 0]
    assert not differs[16:].any()
    assert not differs[:, 16:].any()


@pytest.mark.parametrize("junk", [np.nan, np.inf, -9999.0])
def test_values_of_nodata_do_not_matter(network, junk):
    clean = window(0)
    dirty = Window(np.where(clean.valid, clean.values, junk), clean.valid, clean.segments, (-8, 24))
    for before, after in zip(logits(network, clean), logits(network, dirty), strict=True):
        assert torch.equal(before, after)


def test_a_window_without_a_valid_pixel_is_classified_without_nan(network):
    nothing = window(0, valid=np.zeros((32, 32), dtype=bool))
    pixels, tokens = logits(network, nothing)
    assert tokens.shape == (0, 3)
    assert torch.isfinite(pixels).all()
    beside = logits(network, window(1), nothing)[0]
    assert torch.isfinite(beside).all()


def test_gradients_are_finite_with_nodata_and_constant_segments(network):
    flat = window(0)
    flat.values[:] = 0.5
    nothing = window(0, valid=np.zeros((32, 32), dtype=bool))
    network.train()
    pixels, tokens = network(batch([flat, nothing], SCALING, STEP))
    (pixels.square().mean() + tokens.square().mean()).backward()
    assert all(torch.isfinite(w.grad).all() for w in network.parameters())


# --- its settings --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        {"layers": 0},
        {"fine": 0},
        {"convolution": "separable"},
        {"local_width": 0},
        {"order": "hilbert"},
        {"order": "crossed", "layers": 2},
    ],
    ids=str,
)
def test_a_network_without_a_part_learns_and_keeps_windows_apart(tiny, changed):
    settings = replace(tiny, **changed)
    torch.manual_seed(1)
    network = GLocal(2, 3, settings)

    def run(*windows):
        return network(batch(windows, SCALING, STEP, settings.order))

    pixels, tokens = run(window(0), window(1))
    (pixels.square().mean() + tokens.square().mean()).backward()
    grown = {
        name: w.grad is not None and bool(w.grad.any()) for name, w in network.named_parameters()
    }
    assert all(grown.values()), [name for name, any_ in grown.items() if not any_]
    with torch.no_grad():
        beside = [run(window(0), window(n))[0][0] for n in (1, 2)]
    assert torch.equal(*beside)


def test_crossed_layers_scan_the_columns_and_put_tokens_back(tiny):
    settings = replace(tiny, order="crossed", layers=2)
    torch.manual_seed(1)
    network = GLocal(2, 3, settings).eval()
    made = batch([window(0), window(1)], SCALING, STEP)
    pixels = made.bands.permute(0, 2, 3, 1)
    local = network.local(made.bands, made.valid).permute(0, 2, 3, 1)
    with torch.no_grad():
        found = network._tokens([pixels, local], made)
        first, second = network.mix
        mean, deviation = moments([pixels, local], made.index, len(made.shape))
        t = first(network.embed(torch.cat([mean, deviation, made.shape], dim=1)), made.starts)
        turned = second(t[made.across], made.starts)
        wanted = torch.empty_like(turned)
        wanted[made.across] = turned
    assert torch.equal(found, network.token_norm(wanted))


@pytest.mark.parametrize("width", [4, 0])
def test_logits_of_a_part_are_those_of_the_whole_window(tiny, width, monkeypatch):
    # In how many parts is all one, too.
    monkeypatch.setattr("stcli.landcover.network.network._AT_ONCE", 100)
    torch.manual_seed(1)
    network = GLocal(2, 3, replace(tiny, local_width=width)).eval()
    made = batch([window(0), window(1)], SCALING, STEP)
    whole, tokens = network(made)
    with torch.no_grad():  # values are written over, where nobody asks for gradients
        inner, same = network(made, (slice(8, 24), slice(4, 30)))
    assert torch.allclose(inner, whole[:, :, 8:24, 4:30], atol=1e-5)
    assert torch.allclose(same, tokens, atol=1e-5)


def island(rows: slice, cols: slice) -> Window:
    """Make a window of 128 pixels a side that is valid in one rectangle alone."""
    valid = np.zeros((128, 128), dtype=bool)
    valid[rows, cols] = True
    return window(side=128, valid=valid)


@pytest.mark.parametrize(
    ("rows", "cols", "used"),
    [
        (slice(0, 128), slice(0, 128), (slice(0, 128), slice(0, 128))),
        (slice(41, 60), slice(0, 9), (slice(20, 80), slice(0, 32))),
        (slice(127, 128), slice(100, 101), (slice(104, 128), slice(80, 124))),
        (slice(0, 0), slice(0, 0), (slice(0, 20), slice(0, 20))),
    ],
)
def test_what_no_valid_pixel_feels_is_not_used(rows, cols, used):
    assert used_part(island(rows, cols).valid) == used


def test_a_window_is_classified_as_if_all_of_it_were_used(save_model, monkeypatch):
    network = NetworkSettings(window=128, margin=8, local_width=4, model_width=8, state=4, layers=1)
    model = load_model(save_model(network, SlicSettings(16, 0.1, 1)))
    seen = island(slice(50, 75), slice(90, 128))

    def found():
        chances = model.method.window(seen)[:, seen.valid]
        return chances[:, ~np.isnan(chances[0])]

    part = found()
    assert part.shape == (3, 25 * 30)  # the centre's alone
    monkeypatch.setattr("stcli.landcover.network.network_method.LOCAL_REACH", 128)
    whole = found()
    assert np.allclose(part, whole, atol=1e-6)
    monkeypatch.setattr("stcli.landcover.network.network_method.LOCAL_REACH", 4)
    assert not np.allclose(found(), whole, atol=1e-6)  # so near, the edge is felt


# --- the parts ----------------------------------------------------------------------------------


def test_pack_lays_tokens_end_to_end():
    labels = [np.array([[1, 1], [0, 2]]), np.zeros((2, 2), int), np.array([[7, 0], [0, 0]])]
    index, shape, starts, across = pack([tokenise(each, (0, 0), 1) for each in labels])
    assert index.tolist() == [[[0, 0], [3, 1]], [[3, 3], [3, 3]], [[2, 3], [3, 3]]]
    assert shape.shape == (3, SHAPE_FEATURES)
    assert starts.tolist() == [True, False, True]
    assert across.tolist() == [0, 1, 2]


def test_pack_of_nothing():
    none = np.zeros(0, dtype=np.int64)
    shape = np.zeros((0, SHAPE_FEATURES), np.float32)
    nothing = Tokens(np.zeros((2, 2), dtype=np.int64), shape, none)
    index, shape, starts, across = pack([nothing])
    assert not index.any()
    assert (len(shape), len(starts), len(across)) == (0, 0, 0)


def test_moments_are_those_of_each_tokens_pixels():
    rng = np.random.default_rng(0)
    pixels, index = rng.normal(size=(2, 6, 5, 3)), rng.integers(0, 4, (2, 6, 5))
    each = torch.from_numpy(pixels).float().split([1, 2], dim=3)
    mean, deviation = moments(list(each), torch.from_numpy(index), 3)
    for token in range(3):
        mine = pixels[index == token]
        assert np.allclose(mean[token], mine.mean(axis=0), atol=1e-5)
        assert np.allclose(deviation[token], np.sqrt(mine.var(axis=0) + 1e-5), atol=1e-5)
    with torch.no_grad():
        fast = moments(list(each), torch.from_numpy(index), 3)
    assert torch.equal(fast[0], mean)
    assert torch.allclose(fast[1], deviation, atol=1e-6)


def test_channel_norm_knows_one_pixel():
    norm, x = ChannelNorm(6), torch.randn(2, 6, 4, 5)
    changed = x.clone()
    changed[0, :, 1, 2] += torch.randn(6)
    differs = (norm(x) != norm(changed)).any(dim=1)
    assert differs.nonzero().tolist() == [[0, 1, 2]]
    assert torch.allclose(norm(x).mean(dim=1), torch.zeros(2, 4, 5), atol=1e-6)


def test_channel_norm_without_gradients_is_torchs():
    norm, x = ChannelNorm(6), 100 + torch.randn(2, 6, 4, 5).to(memory_format=torch.channels_last)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
        found, plain = norm(x), norm(x.contiguous())  # the second way is torch's own
    assert torch.allclose(found, norm(x), atol=1e-4)
    assert torch.allclose(plain, norm(x), atol=1e-6)


def test_scaling_maps_low_and_high_to_minus_one_and_one():
    values = np.array([[[0.0, 1.0, 0.5, 7.0]], [[2.0, 0.0, 1.0, 7.0]]])
    valid = np.array([[True, True, True, False]])
    wanted = np.array([[[-1.0, 1.0, 0.0, 0.0]], [[1.0, -1.0, 0.0, 0.0]]])
    assert np.array_equal(Window(values, valid, valid, (0, 0)).scaled(SCALING), wanted)


def test_windows_of_integers_are_scaled_as_floats():
    made = batch([window(0)], SCALING, STEP)
    assert isinstance(made, Windows)
    assert (made.bands.dtype, made.valid.dtype, made.index.dtype) == (
        torch.float32,
        torch.bool,
        torch.int64,
    )


# --- tiling must not show -----------------------------------------------------------------------


def probabilities(model, values, valid, plan, space):
    result = np.full((3, *valid.shape), -1, dtype=np.float32)
    for tile in plan:
        at = tile.read.toslices()
        block, good = values[:, *at].copy(), valid[at].copy()
        labels = slic(Block(block, good, tile.lattice), model.scaling, model.slic, space)
        scene = Scene(block, good, labels, tile.lattice)
        result[:, *tile.core.toslices()] = model.probabilities(scene, tile.trim)
    return result


@pytest.mark.parametrize("origin", [(0, 0), (-37, 1013)])
def test_tiles_give_the_probabilities_of_the_whole(save_model, origin):
    network = NetworkSettings(window=64, margin=8, local_width=4, model_width=8, state=4, layers=1)
    model = load_model(save_model(network, SlicSettings(16, 0.1, 1)))
    rng = np.random.default_rng(0)
    values, valid = rng.random((2, 205, 171)).astype(np.float32), rng.random((205, 171)) < 0.9
    values[:, 60:130, 40:90] += 1
    valid[20:90, 90:150] = False
    values[:, ~valid] = 0
    space = LabelSpace(origin, valid.shape, model.slic.step)
    around, align = network.margin + halo(model.slic), network.stride

    def run(tile_size):
        plan = TilePlan(valid.shape, tile_size, around, align, origin)
        return probabilities(model, values, valid, plan, space)

    whole = run(480)
    assert np.array_equal(np.isnan(whole[0]), ~valid)
    assert np.allclose(whole[:, valid].sum(axis=0), 1, atol=1e-5)
    assert len(np.unique(classes(whole))) > 2
    for tile_size in (48, 96):
        assert np.array_equal(run(tile_size), whole, equal_nan=True)


def test_a_scene_without_a_valid_pixel_is_nan(save_model):
    model = load_model(save_model())
    nothing = np.zeros((20, 30), dtype=bool)
    scene = Scene(np.zeros((2, 20, 30)), nothing, np.zeros((20, 30), int), (3, 3))
    found = model.probabilities(scene, (slice(0, 20), slice(5, 30)))
    assert found.shape == (3, 20, 25)
    assert np.isnan(found).all()


def test_margins_of_a_window_give_no_result_but_context(save_model, tiny):
    """A pixel is classified by the window whose centre holds it."""
    model = load_model(save_model())
    wide = window(0, 64)
    scene = Scene(wide.values, wide.valid, wide.segments, (0, 0))
    found = model.probabilities(scene, (slice(16, 32), slice(32, 48)))
    with torch.inference_mode():
        alone = model.method.window(cut(scene, (16, 32), tiny))[:, 8:24, 8:24]
    assert np.array_equal(found[:, wide.valid[16:32, 32:48]], alone[:, wide.valid[16:32, 32:48]])


def in_torch(model) -> GLocal:
    """Load a model's network in torch."""
    return load_model(model.folder, compute("cpu", "reference")).method.network.network


# --- models -------------------------------------------------------------------------------------


def test_a_model_is_what_was_saved(save_model, tiny):
    model = load_model(save_model())
    assert model.method.grid == tiny
    assert model.slic == SlicSettings(16, 0.1, 1)
    assert model.scaling == BandScaling((0.0, 0.0), (1.0, 2.0))
    assert not in_torch(model).training


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "resnet"},
        {"network": {"window": 32, "depth": 3}},
        {"network": {"window": 32, "margin": 8, "local_width": 5}},
        {"network": {"window": 32, "margin": 16}},
        {"segmentation": {"size": "large"}},
        {"segmentation": {"size": 1}},
        {"classes": ()},
    ],
)
def test_a_card_that_does_not_fit_the_weights_is_a_model_error(save_model, changes):
    with pytest.raises(ModelError, match="model"):
        load_model(save_model(**changes))


@pytest.mark.parametrize("temperature", [1, 0.5, 3])
def test_calibrated_probabilities_are_the_softmax_of_logits_over_the_temperature(
    save_model, tiny, temperature
):
    model = load_model(save_model(calibration={"temperature": temperature}))
    seen = window(0)
    scene = Scene(seen.values, seen.valid, seen.segments, (0, 0))
    found = model.probabilities(scene, (slice(0, 16), slice(0, 16)))
    with torch.inference_mode():
        windows = batch([cut(scene, (0, 0), tiny)], SCALING, model.slic.step)
        logits = in_torch(model)(windows)[0][0]
    wanted = torch.softmax(logits / temperature, dim=0).numpy()[:, 8:24, 8:24]
    valid = seen.valid[:16, :16]
    assert np.allclose(found[:, valid], wanted[:, valid], atol=2e-6)
    assert np.isnan(found[:, ~valid]).all()


def test_a_temperature_that_grows_is_applied_to_each_pixel_by_its_own_odds(save_model):
    plain = load_model(save_model())
    grown = load_model(save_model(calibration={"temperature": 0.8, "growth": 0.3}))
    seen = window(0)
    scene, core = Scene(seen.values, seen.valid, seen.segments, (0, 0)), (slice(0, 16),) * 2
    found = grown.probabilities(scene, core)
    np.testing.assert_array_equal(found, temper(plain.probabilities(scene, core), 0.8, 0.3))
    assert found.dtype == np.float32
    assert np.array_equal(np.isnan(found[0]), ~seen.valid[:16, :16])


def test_wrong_bands_are_refused_by_name(save_model):
    model = load_model(save_model())
    model.check_bands("scene.tif", ("B0", "B1"))
    for names in (("B1", "B0"), ("B0",), ("B0", "B1", "B2"), ()):
        with pytest.raises(ModelError, match=r"scene\.tif.*B0, B1") as caught:
            model.check_bands("scene.tif", names)
        assert str(model.folder) in str(caught.value)


def test_of_many_bands_few_are_named(save_model):
    model = load_model(save_model())
    with pytest.raises(ModelError, match=r"200 bands \(…, b1, b2, b3, b4 and 195 more\), the m"):
        model.check_bands("scene.tif", ("B0", *(f"b{k}" for k in range(1, 200))))


def test_larger_windows_need_more_bytes(tiny):
    large = NetworkSettings(window=64, margin=8, local_width=4, model_width=8)
    assert window_bytes(large, 2, 3) == 4 * window_bytes(tiny, 2, 3)
    assert window_bytes(tiny, 3, 3) > window_bytes(tiny, 2, 3)


# --- classes and doubt --------------------------------------------------------------------------


def chances(*columns) -> np.ndarray:
    return np.array(columns, dtype=np.float32).T[:, None, :]


def test_classes_count_from_one_and_nodata_is_zero():
    found = classes(chances([0.2, 0.5, 0.3], [1, 0, 0], [np.nan] * 3, [0.4, 0.4, 0.2]))
    assert found.dtype == np.uint8
    assert found.tolist() == [[2, 1, 0, 1]]


def test_doubt_by_hand():
    entropy, margin, least = uncertainty(chances([1, 0, 0], [0.5, 0.5, 0], [0.6, 0.3, 0.1]))[:, 0]
    assert np.allclose(entropy[:2], [0, np.log(2) / np.log(3)])
    assert np.isclose(entropy[2], -sum(p * np.log(p) for p in (0.6, 0.3, 0.1)) / np.log(3))
    assert np.allclose(margin, [0, 1, 0.7])
    assert np.allclose(least, [0, 0.5, 0.4])


@pytest.mark.parametrize("count", [2, 3, 7, 20])
def test_doubt_lies_between_zero_and_one_and_nodata_stays(count):
    rng = np.random.default_rng(count)
    p = rng.dirichlet(np.full(count, 0.3), (50, 40)).transpose(2, 0, 1).astype(np.float32)
    p[:, 0, 0], p[:, 0, 1] = np.nan, 1 / count
    p[:, 0, 2] = 0
    p[1, 0, 2] = 1
    found = uncertainty(p)
    assert found.dtype == np.float32
    assert np.isnan(found[:, 0, 0]).all()
    rest = found.reshape(3, -1)[:, 1:]
    assert (rest >= 0).all()
    assert (rest <= 1).all()
    assert np.allclose(found[:, 0, 1], [1, 1, 1 - 1 / count], atol=1e-6)
    assert np.allclose(found[:, 0, 2], 0, atol=1e-6)
