"""Pieces of work side by side: results in order, one thread an operation, the caller left alone."""

import threading
import time

import pytest
import torch

from geomem.workers import workers


@pytest.fixture(autouse=True)
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    assert torch.get_num_threads() == 4
    torch.set_num_threads(before)


def later(seconds, value):
    time.sleep(seconds)
    return value, torch.get_num_threads(), threading.get_ident()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_results_come_in_the_order_of_the_tasks(count):
    drawn, seen = [], []

    def tasks():
        for i in range(12):
            drawn.append(i)
            yield (0.01 * (i % 3 == 0), i)

    with workers(count) as team:
        for value, threads, where in team.in_order(later, tasks()):
            assert len(drawn) - value <= 2 * count + 1, "memory is held for a few only"
            assert (threads, where == threading.get_ident()) == ((4, True), (1, False))[count > 1]
            seen.append(value)
    assert seen == list(range(12))


def test_a_worker_multiplies_with_one_thread_and_a_new_thread_after_it_with_all():
    """The time that the process takes beyond that of the worker is what other threads took."""
    a = torch.ones(1500, 1500)

    def multiply():
        process, thread = time.process_time(), time.thread_time()
        for _ in range(5):
            a @ a
        return time.process_time() - process, time.thread_time() - thread

    with workers(2) as team:
        all_threads, own = team.start(multiply)()
    assert all_threads < 1.2 * own + 0.01
    found = []
    new = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    new.start()
    new.join()
    assert found == [4]


def test_a_failure_ends_the_work_and_leaves_the_threads():
    def fail(i):
        if i == 1:
            raise ValueError("of the second")
        time.sleep(0.01)

    begun = []
    with pytest.raises(ValueError, match="of the second"), workers(2) as team:
        list(team.in_order(fail, ((begun.append(i) or i,) for i in range(1000))))
    assert len(begun) < 10 and threading.active_count() < 10
