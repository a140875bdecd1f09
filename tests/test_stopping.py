"""Early stopping: the held-out loss of known denoisers, and the snapshot where it is lowest."""

import numpy as np
import pytest
import torch

from geomem.diffusion import fitting, presets
from geomem.diffusion.noise import NoiseLaw
from geomem.geometry.intervals import Estimate
from geomem.memorization.stopping import Stopping, running_mean, weighted_loss


def test_an_untrained_network_has_loss_one(rng):
    """It answers c_skip x, which at its own sigma_data has a weighted error of 1 at any level."""
    images, law = rng.normal(scale=0.5, size=(4000, 1, 2, 2)), NoiseLaw(-1.2)
    found = weighted_loss(lambda x, s: x * 0.25 / (s**2 + 0.25), images, law, 0.5, seed=1)
    assert found.low < 1 < found.high and found.high - found.low < 0.1


def test_returning_the_input_has_a_closed_form(rng):
    """Its error is sigma^2 a pixel: the loss is the mean of (sigma^2 + s^2) / s^2."""
    images, law = rng.normal(size=(2000, 1, 3, 3)), NoiseLaw(-1.0, 0.5)
    sigmas = law.quantile((np.arange(16) + 0.5) / 16)
    wanted = np.mean((sigmas**2 + 0.25) / 0.25)
    found = weighted_loss(lambda x, s: x, images, law, 0.5, seed=1)
    assert found.low < wanted < found.high
    assert found == weighted_loss(
        lambda x, s: x, images, law, 0.5, seed=1
    )  # equal seeds, equal noise


def test_a_running_mean_of_a_line_is_the_line_until_its_window_meets_the_end():
    losses = np.arange(1.0, 801.0)
    steps, means = running_mean(losses)
    assert steps[0] == 1 and steps[-1] == 800
    whole = steps + steps // 8 <= 800
    np.testing.assert_allclose(means[whole], steps[whole])
    assert means[-1] == np.mean(losses[699:])


def test_the_best_snapshot_is_the_lowest_loss():
    losses = tuple(map(Estimate, (0.5, 0.3, 0.4)))
    stopping = Stopping((0.125, 0.25, 1.0), (10, 20, 80), losses)
    assert (stopping.best, stopping.step) == (0.25, 20)


@pytest.mark.parametrize("gap", [False, True])
def test_a_model_is_judged_at_each_snapshot_without_its_gap(tmp_path, gap):
    changes = {"data.n_train": 8, "train.steps": 16, "train.model.width": 8, "train.device": "cpu"}
    changes |= {"train.noise.gap_low": 0.2, "train.noise.gap_high": 0.5} if gap else {}
    chosen = presets.experiment("digits-mlp-small", changes)
    trained = fitting.fit(chosen, root=tmp_path)
    images = chosen.data.load().heldout[:40]
    found = Stopping.of(trained, images)
    assert found.shares == (*presets.SNAPSHOTS, 1.0) and found.steps[-1] == 16
    law = NoiseLaw().for_data(trained.experiment.train.model.sigma_data)
    last = weighted_loss(trained.denoise, images, law, trained.experiment.train.model.sigma_data)
    assert found.losses[-1] == last and torch.isfinite(torch.tensor(last.value))
