"""The newest request is answered, what waited behind it is dropped: a picture that follows a slider and never lags.

A queue would answer every position that the slider passed, one after the other, long after the hand has stopped. Here
one place waits: a new request takes it, whoever sat there before.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["LatestOnly"]

R = TypeVar("R")


class LatestOnly(Generic[R]):
    """A thread that handles requests, one at a time, and of those that wait only the newest.

    Args:
        handle: called in the thread with each request that is taken up, in the order of asking.
        failed: called in the thread with a request and what `handle` or `finish` raised on it; nothing is lost in
            silence.
        finish: called with a request after it was handled without an error, if for `pause` seconds nothing newer came:
            what may be late. It should look at `waiting` now and then and stop if something newer waits.
        pause: seconds.
    """

    def __init__(
        self,
        handle: Callable[[R], object],
        failed: Callable[[R, Exception], object],
        *,
        finish: Callable[[R], object] | None = None,
        pause: float = 0.15,
    ) -> None:
        self._handle, self._failed, self._finish, self._pause = handle, failed, finish, pause
        self._slot: list[R] = []  # the one that waits, or none
        self._busy = False
        self._closed = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="latest-only", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> bool:
        """Whether something newer asks for the thread: a request, or the end."""
        return bool(self._slot) or self._closed

    def submit(self, request: R) -> None:
        """Ask; returns at once. A request that waited is dropped.

        Raises:
            RuntimeError: after `close`.
        """
        with self._change:
            if self._closed:
                raise RuntimeError("found a closed explorer, expected an open one; make a new one")
            self._slot = [request]
            self._change.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until everything asked for is handled and finished; False if that took longer than `timeout` seconds.

        Not from within the thread, which would wait for itself.
        """
        with self._change:
            return self._change.wait_for(lambda: not self._slot and not self._busy, timeout)

    def close(self) -> None:
        """Stop after what is being handled; a request that waits is dropped. Twice is no harm."""
        with self._change:
            self._closed = True
            self._slot = []
            self._change.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._change:
                self._busy = False
                self._change.notify_all()
                self._change.wait_for(lambda: self.waiting)
                if self._closed:
                    return
                request = self._slot.pop()
                self._busy = True
            if not self._guarded(self._handle, request) or self._finish is None:
                continue
            with self._change:
                newer = self._change.wait_for(lambda: self.waiting, self._pause)
            if not newer:
                self._guarded(self._finish, request)

    def _guarded(self, call: Callable[[R], object], request: R) -> bool:
        """Whether it went well; a thread that dies would take every later picture with it."""
        try:
            call(request)
        except Exception as error:
            try:
                self._failed(request, error)
            except Exception:
                logging.getLogger(__name__).exception("an error that could not be told: %s", error)
            return False
        return True
