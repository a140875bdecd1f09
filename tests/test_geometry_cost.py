"""What the curves cost: what is counted is what the code does, and times add up."""

import time
from dataclasses import replace

import numpy as np
import pytest
from torch.utils.flop_counter import FlopCounterMode

from geomem.geometry import cost, distances
from geomem.geometry.cost import H100, Machine, Work, curves_seconds, this_machine, timed
from geomem.geometry.coverage import shell_coverage
from geomem.geometry.distances import BLOCK_DRAWS, Points
from geomem.geometry.posterior import max_posterior_weight

SIZES = [Work(300, 40, 30, 5, (2, 3)), Work(2100, 7, 11, 3, (4, 1))]


def curves(work, rng):
    """Both curves of images of these sizes."""
    train, queries = (rng.standard_normal((n, work.d)) for n in (work.n, work.queries))
    sigmas = np.geomspace(0.1, 10, work.levels)
    weight, coverage = work.draws
    max_posterior_weight(train, sigmas, queries=queries, draws=weight, device="cpu")
    shell_coverage(queries, train, sigmas, draws=coverage, device="cpu")


@pytest.mark.parametrize("work", SIZES)
def test_the_arithmetic_is_that_of_the_curves(work, rng):
    with FlopCounterMode(display=False) as counter:
        curves(work, rng)
    assert work.flops == pytest.approx(counter.get_total_flops(), rel=0.05)


@pytest.fixture
def read(monkeypatch):
    """How many training points each block that was read has."""
    read = []

    def block(points, rows, centre=None, original=Points.block):
        found = original(points, rows, centre)
        read.extend([len(found)] * (points.name == "train"))
        return found

    monkeypatch.setattr(Points, "block", block)
    return read


@pytest.mark.parametrize("work", SIZES)
@pytest.mark.parametrize("noise", [2**28, 600])
def test_the_training_set_is_read_as_often_as_is_said(work, noise, rng, read, monkeypatch):
    for module in (distances, cost):
        monkeypatch.setattr(module, "NOISE_BYTES", noise)
    curves(work, rng)
    assert sum(read) == work.passes * work.n
    assert (work.passes > 4) == (noise < 2**28)


@pytest.mark.parametrize("draws", [(10, 11), (4, 23)])
def test_more_draws_than_a_block_takes_are_more_passes(draws, rng, read):
    work = Work(50, 6, 5, 2, draws)
    curves(work, rng)
    assert sum(read) == work.passes * work.n
    assert work.passes == 2 + sum(-(-number // BLOCK_DRAWS) for number in draws)
    assert work.memory == replace(work, draws=(10, 10)).memory + 16 * 2 * 5 * (max(draws) - 10)


def test_a_time_is_a_sum_of_parts_that_grow_as_their_work_does():
    machine = replace(H100, network=1e9)
    work = Work(10**7, 3072)
    one, more, shared = (
        machine.seconds(*of) for of in ((work,), (replace(work, n=3 * work.n),), (work, 8))
    )
    for part in ("products", "levels", "reading"):
        assert getattr(more, part) == pytest.approx(3 * getattr(one, part))
        assert getattr(shared, part) == pytest.approx(getattr(one, part) / 8)
    assert more.drawing == one.drawing == shared.drawing and one.merging == 0
    assert shared.merging == pytest.approx(3 * (H100.latency + work.merged / 1e9))
    assert Machine(1e9, 1e9, 1e9).seconds(work).reading == 0  # from memory
    assert replace(work, itemsize=4).bytes == 4 * work.bytes == 4e7 * 3072


def test_a_machine_that_was_timed_takes_that_time():
    work = SIZES[0]
    assert sum(this_machine(work, 50.0).seconds(work)) == pytest.approx(50.0)
    slow = this_machine(work, 1e-9)  # less than its parts alone, as on a busy machine
    assert slow.terms == pytest.approx(work.terms / 1e-12)


def test_time_is_that_of_a_core_and_no_others(rng):
    assert timed(lambda: time.sleep(0.05)) < 0.02
    assert timed(lambda: time.sleep(0.05), "cuda") >= 0.05
    train = rng.standard_normal((200, 8))
    assert 0 < curves_seconds(train[:20], train, Work(200, 8, 20, 3)) < 60
