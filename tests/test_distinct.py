"""The options of the ratio test, each on images where the plain test is wrong, and a slow loop."""

import numpy as np
import pytest
import torch

import geomem
from geomem import DistinctImages, memorized_fraction, neighbours, twins
from geomem.errors import InputError


@pytest.fixture
def digits():
    return geomem.load_dataset("digits", n_train=200, n_heldout=100)


def near(images, rng, by=0.01):
    return (images + by * rng.normal(size=images.shape)).astype(np.float32)


def loop(images, train, threshold, distance):
    """The test with options, written out: d(x, x_i) of any kind, groups by links, one at a time."""
    n = len(train)
    among = [[distance(a, b) for b in train] for a in train]
    group = [*range(n)]
    for i in range(n):
        order = sorted((j for j in range(n) if j != i), key=lambda j: (among[i][j], j))[:11]
        d = [among[i][j] for j in order]
        close = max((m for m in range(1, len(d)) if d[m - 1] < threshold * d[m]), default=0)
        for j in [j for m, j in enumerate(order) if m < close or among[i][j] == 0]:
            group = [group[i] if g == group[j] else g for g in group]
    for x in images:
        best = {}
        for i in range(n):
            d = distance(x, train[i])
            if d < best.get(group[i], (np.inf,))[0]:
                best[group[i]] = (d, i)
        yield sorted(best.values())


def pixels(a, b):
    return np.sqrt(((a - b) ** 2).sum())


def cosines(a, b):
    a, b = (2 * x.ravel() + 1 for x in (a, b))
    return np.sqrt(max(0, 2 - 2 * a @ b / np.sqrt((a @ a) * (b @ b))))


def mirrored(a, b):
    return min(pixels(a, b), pixels(a[:, :, ::-1], b))


def shifted(a, b):
    _, h, w = a.shape
    wide = np.pad(a, ((0, 0), (1, 1), (1, 1)), mode="edge")
    return min(pixels(wide[:, y : y + h, x : x + w], b) for y in range(3) for x in range(3))


OPTIONS = {
    "twins": (dict(twins=True), 1 / 3, pixels),
    "mirror": (dict(augment="mirror"), 0, mirrored),
    "mirrored twins": (dict(augment=["mirror"], twins=True), 1 / 3, mirrored),
    "shift": (dict(augment=["shift"]), 0, shifted),
    "features": (dict(features=lambda x: 2 * x.flatten(1) + 1, cosine=True), 0, cosines),
}


@pytest.mark.parametrize("mean_of", [None, 2, 4])
@pytest.mark.parametrize("name", OPTIONS)
def test_options_agree_with_a_loop(rng, name, mean_of):
    options, threshold, distance = OPTIONS[name]
    train = rng.normal(size=(14, 2, 4, 4)).astype(np.float32)
    train[3:6] = near(train[[0, 0, 1]], rng)  # three near twins, and two
    train[6] = train[2, :, :, ::-1]
    images = near(train[rng.integers(0, 14, 30)], rng, 0.1)
    found = neighbours(images, DistinctImages(train, "cpu", mean_of=mean_of, **options))
    for q, best in enumerate(loop(images, train, threshold, distance)):
        known = [d for d, _ in best]
        assert found.first[q] == pytest.approx(known[0], rel=1e-4)
        assert distance(images[q], train[found.index[q]]) == pytest.approx(known[0], rel=1e-4)
        against = known[1] if mean_of is None else np.mean(known[:mean_of])
        assert found.second[q] == pytest.approx(against, rel=1e-4)


def test_a_near_twin_of_every_image_hides_no_copy(digits, rng):
    train = np.concatenate([digits.train, near(digits.train, rng), near(digits.train, rng)])
    copies = near(digits.train, rng)
    assert memorized_fraction(copies, train).value < 0.05
    merged = DistinctImages(train, twins=True)
    assert memorized_fraction(copies, merged).value == 1
    plain = neighbours(digits.heldout, digits.train).memorized()
    np.testing.assert_array_equal(
        neighbours(digits.heldout, merged).memorized(), plain, "new images are judged as without"
    )


def test_mirrored_and_shifted_copies(digits, rng):
    flipped = near(digits.train[..., ::-1], rng)
    assert memorized_fraction(flipped, digits.train).value < 0.2
    assert memorized_fraction(flipped, DistinctImages(digits.train, augment="mirror")).value == 1
    blank = np.pad(digits.train, ((0, 0), (0, 0), (2, 2), (2, 2)), constant_values=-1)
    moved = near(np.roll(blank, (1, -1), (2, 3)), rng)
    assert memorized_fraction(moved, blank).value < 0.2
    assert memorized_fraction(moved, DistinctImages(blank, augment="shift")).value == 1
    both = DistinctImages(blank, augment=["mirror", "shift"])
    assert memorized_fraction(near(moved[..., ::-1], rng), both).value == 1


def test_a_copy_in_other_contrast_is_one_by_the_cosine(digits):
    middle = digits.train.mean((1, 2, 3), keepdims=True)
    pale = middle + 0.4 * (digits.train - middle)
    assert memorized_fraction(pale, digits.train).value < 0.9
    about_the_mean = DistinctImages(
        digits.train, features=lambda x: x.flatten(1) - x.flatten(1).mean(1, True), cosine=True
    )
    assert memorized_fraction(pale, about_the_mean).value == 1


def test_carlinis_yardstick_between_its_bounds(digits):
    """The mean over neighbours, the nearest among them: no ratio is beyond 1."""
    plain = neighbours(digits.heldout, digits.train)
    mean = neighbours(digits.heldout, DistinctImages(digits.train, mean_of=50))
    np.testing.assert_array_equal(mean.first, plain.first)
    known = geomem.nearest_distances(digits.heldout, digits.train, 50).mean(1)
    np.testing.assert_allclose(mean.second, known, rtol=1e-12)
    assert np.all(mean.ratio <= 1)


@pytest.mark.parametrize("images", [lambda s: s, lambda s: s + 0.02 * (-1.0) ** np.arange(8)])
@pytest.mark.parametrize("range_", [(0, 1), (0, 255)])
def test_samples_of_another_range_are_refused_not_counted_as_new(digits, images, range_):
    low, high = range_
    other = images((digits.train[:50] + 1) / 2) * (high - low) + low
    for samples, train in ((other, digits.train), (torch.from_numpy(other), digits.train)):
        with pytest.raises(InputError, match=f"like values of {low} to {high}, and the training"):
            memorized_fraction(samples, train)
    with pytest.raises(InputError, match="like values of -1 to 1"):
        neighbours(digits.train[:50], (digits.train + 1) / 2 * (high - low) + low)
    for measured in (
        lambda: geomem.memorization_rates(lambda x, sigma: x, other, digits.train, [1.0]),
        lambda: geomem.copy_margin(other, digits.train),
        lambda: geomem.copy_bound(lambda x, sigma: x, other, digits.train, [1.0]),
        lambda: geomem.Monitor(digits.train, other, quiet=True),
    ):
        with pytest.raises(InputError, match=f"like values of {low} to {high}, and the training"):
            measured()
    assert memorized_fraction(digits.train[:50], digits.train).value == 1


def test_pale_images_of_the_same_range_are_not_refused(digits):
    """Bright all over, as a blurred photograph on a white ground: within [0, 1], yet of [-1, 1]."""
    bright = 0.9 - 0.2 * (digits.train + 1) / 2
    train = np.concatenate([0.95 - 0.5 * (digits.train + 1), -digits.train])
    assert neighbours(bright, train).ratio.shape == (200,)
    smooth = geomem.empirical_denoiser(bright, train, 30.0)
    assert neighbours(smooth, train).ratio.shape == (200,)


def test_a_denoisers_answers_are_of_any_range(digits):
    def half(x, sigma):
        return (0 * x + torch.from_numpy(digits.train[:1]) + 1) / 2

    rates = geomem.memorization_rates(half, digits.heldout, digits.train, [0.1])
    assert rates.mean.tolist() == [0.0]


def test_twins_are_counted(rng):
    train = rng.normal(size=(60, 1, 4, 4)).astype(np.float32)
    train[50:53] = near(train[:3], rng)
    train[53:55] = near(train[[4, 4]], rng)  # with their original three
    train[55:58] = train[7]
    heldout = np.concatenate([train[[0, 7]], near(train[[9]], rng), rng.normal(size=(9, 1, 4, 4))])
    heldout[-1] = heldout[-2]
    found = twins(train, heldout)
    assert (found.n, found.distinct, found.grouped) == (60, 57, 9)
    keep = np.setdiff1d(np.arange(60), [55, 56, 57])
    among = np.linalg.norm((train[keep][:, None] - train[keep]).reshape(57, 57, -1), axis=2)
    ratio = np.sort(among, 1)
    assert found.near == (ratio[:, 1] < ratio[:, 2] / 3).sum() >= 6
    assert (found.heldout, found.heldout_distinct, found.shared) == (12, 11, 2)
    assert found.close == memorized_fraction(heldout, train).count >= 3
    assert "\n" not in str(found)
    alone = twins(train)
    assert (alone.distinct, alone.near, alone.heldout) == (57, found.near, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(augment="turn"), "augment: 'mirror' and 'shift'"),
        (dict(mean_of=0), "mean_of must be a whole number"),
        (dict(mean_of=1), "mean_of must be at least 2"),
        (dict(features=lambda x: x.flatten(1).mean(1)), "features: expected finite values"),
        (dict(mean_of=7), "at least 7 distinct images; of 6 there are 6"),
        (dict(features=lambda x: x[:1]), "features: expected finite values"),
        (dict(features=lambda x: x.flatten(1) * torch.nan), "features: expected finite values"),
        (dict(features=lambda x: 0 * x, cosine=True), "zeros has no direction"),
        (dict(features=lambda x: 0 * x), "at least 2 distinct"),
    ],
)
def test_bad_options_are_one_line(rng, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        DistinctImages(rng.normal(size=(6, 1, 3, 3)), **options)
    assert "\n" not in str(caught.value)


def test_what_is_proved_for_the_plain_test_is_not_said_of_another(rng):
    train = rng.normal(size=(6, 1, 3, 3))
    with pytest.raises(ValueError, match="without options"):
        geomem.copy_margin(train, DistinctImages(train, twins=True))
    with pytest.raises(ValueError, match=r"augment: .* got 'mirror'"):
        DistinctImages(train[:, 0, 0], augment="mirror")
    with pytest.raises(ValueError, match="3 or more images; 2 differ"):
        twins(train[:2])
