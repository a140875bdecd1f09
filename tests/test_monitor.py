"""The monitor, with denoisers whose answer is known."""

import numpy as np
import pytest
import torch

import geomem
from geomem.geometry.curve import ErrorCurve
from geomem.memorization.monitor import Look, Monitor

SIGMA = 0.5


@pytest.fixture(scope="module")
def data():
    return geomem.load_dataset("digits", n_train=64)


def shrunk(k):
    """Of normal images of variance 1 its error a pixel is (1 - k)^2 + k^2 sigma^2."""
    return lambda x, sigma: k * x


BEST = 1 / (1 + SIGMA**2)


def watching(rng, **options):
    images = rng.normal(size=(96, 1, 4, 4))
    return Monitor(images[:32], images[32:], sigmas=[SIGMA], samples=0, seed=1, **options)


@pytest.mark.parametrize("patience", [1, 2, 4])
def test_it_stops_so_many_looks_after_the_best(rng, patience, capsys):
    monitor = watching(rng, patience=patience)
    ks, stopped = [0, 0.4, BEST, 1.1, 1.2, 1.3, 1.4], []
    for step, k in enumerate(ks):
        monitor.look(10 * step, shrunk(k))
        stopped.append(monitor.stop)
    assert stopped == [step >= 2 + patience for step in range(len(ks))]
    assert monitor.best == 20
    said = capsys.readouterr().out.splitlines()
    assert len(said) == len(ks)
    news = ["stop, step 20 is best" in line for line in said]
    assert news == [step == 2 + patience for step in range(len(ks))]  # once


def test_the_loss_is_edms_of_the_closed_form(rng):
    images = rng.normal(size=(4096, 1, 4, 4))
    monitor = Monitor(images[:2048], images, sigmas=[SIGMA, 2.0], images=4096, samples=0, seed=1)
    look = monitor.look(0, shrunk(0.5))
    s, unit = np.array([SIGMA, 2.0]), images[:2048].std()
    weight = (s**2 + unit**2) / (s * unit) ** 2
    assert look.loss.value == pytest.approx((weight * (0.25 + 0.25 * s**2)).mean(), rel=0.02)
    assert look.loss.low < look.loss.value < look.loss.high


def test_a_better_network_than_ever_ends_the_wait(rng):
    monitor = watching(rng)
    for k in (0.5, 1.2):
        monitor.look(0, shrunk(k))
    monitor.look(7, shrunk(BEST))
    monitor.look(8, shrunk(1.2))
    assert not monitor.stop and monitor.best == 7


def test_equal_denoisers_never_stop_it(rng):
    monitor = watching(rng, quiet=True)
    looks = [monitor.look(step, shrunk(BEST)) for step in range(5)]
    assert not monitor.stop
    for look in looks[1:]:  # the same noise at every look
        np.testing.assert_array_equal(look.losses, looks[0].losses)


@pytest.mark.parametrize("lasting", [0.0, 0.9])
@pytest.mark.parametrize("skewed", [False, True])
def test_equally_good_ones_stop_it_by_chance_as_seldom_as_said(rng, lasting, skewed):
    """Each image's loss goes up and down by chance, also with what lasts for some looks."""
    monitor, stopped = watching(rng), 0
    errors = ErrorCurve.from_queries(np.ones(1), np.ones((2, 1)))
    for _ in range(100):
        monitor.looks, moved = [], rng.normal(size=64)
        for step in range(50):
            moved = lasting * moved + np.sqrt(1 - lasting**2) * rng.normal(size=64)
            losses = np.exp(moved) if skewed else 5 + moved
            monitor.looks.append(Look(step, errors, losses, None))
            if monitor.stop:
                stopped += 1
                break
    assert stopped / 100 <= 0.04


def test_copies_begin_once_with_the_empirical_denoiser_and_not_with_a_gaussian(data, capsys):
    monitor = Monitor(data.train, data.heldout)
    gaussian, empirical = (
        kind(data.train) for kind in (geomem.GaussianDenoiser, geomem.EmpiricalDenoiser)
    )
    for step, denoise in enumerate([gaussian, gaussian, empirical, gaussian, empirical]):
        found = monitor.look(step, denoise)
        assert found.copies.value == (1.0 if denoise is empirical else 0.0)
    assert monitor.copies_begin == 2 and monitor.best == 0
    said = capsys.readouterr().out.splitlines()
    assert ["copies begin here" in line for line in said] == [False, False, True, False, False]


def test_copies_as_frequent_as_among_new_images_are_chance(data):
    """Where held-out images are training images, copies are no news."""
    monitor = Monitor(data.train, data.train, quiet=True)
    assert monitor.floor.value == 1
    monitor.look(0, geomem.EmpiricalDenoiser(data.train))
    assert monitor.copies_begin is None


class Network(torch.nn.Module):
    """Whatever has a training mode."""

    def __init__(self):
        super().__init__()
        self.norm, self.drop = torch.nn.BatchNorm2d(1), torch.nn.Dropout(0.5)

    def forward(self, x, sigma):
        return self.drop(self.norm(x.float()))


def test_a_network_in_training_is_asked_in_eval_mode_and_left_as_it_was(data):
    net = Network().train()
    net.drop.eval()  # frozen by its owner
    before = {name: value.clone() for name, value in net.state_dict().items()}
    random = torch.random.get_rng_state()
    monitor = Monitor(data.train, data.heldout, samples=2, quiet=True)
    look = monitor.look(0, net)
    assert net.training and net.norm.training and not net.drop.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(random, torch.random.get_rng_state()) and torch.is_grad_enabled()
    np.testing.assert_array_equal(look.losses, monitor.look(1, net.eval()).losses)


def test_its_levels_are_within_those_of_the_network_unless_they_are_given(data):
    plain = geomem.GaussianDenoiser(data.train)
    everywhere = Monitor(data.train, data.heldout, samples=0, quiet=True).look(0, plain)
    low, high = 0.2, 2.0
    narrow = geomem.denoiser(plain, levels=(low, high), quiet=True)
    monitor = Monitor(data.train, data.heldout, samples=2, quiet=True)
    with pytest.warns(UserWarning, match="samples begin at sigma 2, which does not hide"):
        found = monitor.look(0, narrow).errors.sigma
    clipped = np.unique(np.clip(everywhere.errors.sigma, low, high))
    np.testing.assert_array_equal(found, clipped)
    assert (found[0], found[-1]) == (low, high) and len(everywhere.errors.sigma) == 8
    np.testing.assert_array_equal(monitor.look(1, plain).errors.sigma, found)  # comparable
    given = Monitor(data.train, data.heldout, sigmas=[0.1], samples=0, quiet=True)
    with pytest.raises(ValueError, match="outside the noise levels"):
        given.look(0, narrow)


def test_the_table_has_a_row_for_each_look(data):
    monitor = Monitor(data.train, data.heldout, samples=3, quiet=True)
    for step in (5, 50):
        monitor.look(step, geomem.EmpiricalDenoiser(data.train))
    table = monitor.table()
    assert table["step"] == [5, 50] and table["copies [fraction]"] == [1, 1]
    assert {len(column) for column in table.values()} == {2}


@pytest.mark.parametrize("drawn", [0, 3])
def test_it_draws_itself(data, drawn):
    from matplotlib.figure import Figure

    monitor = Monitor(data.train, data.heldout, samples=drawn, quiet=True)
    for step in (0, 1):
        monitor.look(step, geomem.GaussianDenoiser(data.train))
    loss, copies = Figure().subplots(2)
    monitor.plot(loss)
    monitor.plot(loss, copies)
    shown = loss.lines[0].get_ydata()
    np.testing.assert_allclose(shown, [look.loss.value for look in monitor.looks])
    shares = [look.copies.value for look in monitor.looks if look.copies is not None]
    assert len(shares) == (2 if drawn else 0)
    assert [*copies.lines[0].get_ydata()] == shares if drawn else not copies.lines


def test_what_cannot_be_watched_is_said(data):
    with pytest.raises(ValueError, match="at least 2 held-out images"):
        Monitor(data.train, data.heldout[:1])
    with pytest.raises(ValueError, match="no look yet"):
        _ = Monitor(data.train, data.heldout).best
    with pytest.raises(ValueError, match="patience must be a whole number"):
        Monitor(data.train, data.heldout, patience=0)
