"""The thread that answers the newest request: what is dropped, in which order answers come, what an error does.

No test waits for a time to pass: requests hold the thread until the test lets it go.
"""

import threading
import time

import pytest

from dirl_lib.latest import LatestOnly

PATIENCE = 60  # seconds after which a test that hangs fails


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the thread never came there"
        time.sleep(0.001)


class Held:
    """Notes what was handled and finished; "slow" waits for `release`, "bad" raises."""

    def __init__(self, *, finish=True, pause=0.0):
        self.handled, self.finished, self.errors = [], [], []
        self.started, self.release = threading.Event(), threading.Event()
        self.worker = LatestOnly(self.handle, self.tell, finish=self.finished.append if finish else None, pause=pause)

    def tell(self, request, error):
        self.errors.append((request, str(error)))
        if request == "bad and untellable":
            raise OSError("nobody listens")

    def handle(self, request):
        if request == "slow":
            self.started.set()
            assert self.release.wait(PATIENCE)
        if str(request).startswith("bad"):
            raise ValueError("a bad request")
        self.handled.append(request)


@pytest.fixture
def held():
    made = []

    def make(**options):
        made.append(Held(**options))
        return made[-1]

    yield make
    for each in made:
        each.release.set()
        each.worker.close()


def test_what_waits_is_replaced_and_order_is_kept(held):
    one = held()
    one.worker.submit("slow")
    assert one.started.wait(PATIENCE)
    for request in range(100):
        one.worker.submit(request)
    assert one.worker.waiting
    one.release.set()
    assert one.worker.wait(PATIENCE)
    assert one.handled == ["slow", 99]
    assert not one.worker.waiting


def test_each_request_is_answered_where_none_waits(held):
    one = held()
    for request in range(5):
        one.worker.submit(request)
        assert one.worker.wait(PATIENCE)
    assert one.handled == [0, 1, 2, 3, 4]


def test_an_error_is_told_and_the_thread_goes_on(held):
    one = held()
    for request in ("bad", "good"):
        one.worker.submit(request)
        assert one.worker.wait(PATIENCE)
    assert one.errors == [("bad", "a bad request")]
    assert one.handled == one.finished == ["good"]  # what went wrong is not finished


def test_an_error_that_cannot_be_told_is_logged_and_the_thread_goes_on(held, caplog):
    one = held()
    for request in ("bad and untellable", "good"):
        one.worker.submit(request)
        assert one.worker.wait(PATIENCE)
    assert one.handled == ["good"]
    assert "an error that could not be told: a bad request" in caplog.text


def test_what_may_be_late_is_done_once_nothing_newer_comes(held):
    one = held(pause=PATIENCE)
    one.worker.submit("first")
    until(lambda: one.handled == ["first"])  # it now waits for something newer
    one.worker.submit("second")
    until(lambda: one.handled == ["first", "second"])
    assert one.finished == []
    quick = held()
    quick.worker.submit("only")
    assert quick.worker.wait(PATIENCE)
    assert quick.finished == ["only"]


def test_an_error_in_what_may_be_late_is_told_too():
    errors = []

    def late(_):
        raise RuntimeError("late")

    worker = LatestOnly(lambda _: None, lambda *of: errors.append(of), finish=late, pause=0.0)
    worker.submit(1)
    assert worker.wait(PATIENCE)
    worker.close()
    assert [(request, str(error)) for request, error in errors] == [(1, "late")]


def test_waiting_gives_up_after_its_time(held):
    one = held(finish=False)
    one.worker.submit("slow")
    assert not one.worker.wait(0.01)


def test_after_the_end_nothing_is_taken(held):
    one = held()
    one.worker.submit("slow")
    assert one.started.wait(PATIENCE)
    one.worker.submit("dropped")
    closing = threading.Thread(target=one.worker.close)
    closing.start()
    until(lambda: one.worker.waiting and not one.worker._slot)  # the end is announced; what waited is gone
    one.release.set()
    closing.join(PATIENCE)
    assert not closing.is_alive()
    assert one.handled == ["slow"]
    one.worker.close()
    with pytest.raises(RuntimeError, match="found a closed explorer, expected an open one"):
        one.worker.submit("late")
