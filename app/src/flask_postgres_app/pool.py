"""The connections of a process, handed out in the order in which they were asked for."""

from __future__ import annotations

import threading
from collections import deque
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class Pool(Generic[T]):
    """What threads share by taking one and putting it back.

    A thread that waits is handed what comes back. With a plain queue whoever put it back takes it again for its next
    request, before the interpreter has changed to the thread that waits, and so on until that one's time is over.
    All methods may be called from any thread.
    """

    def __init__(self) -> None:
        """Make an empty one."""
        self._lock = threading.Lock()
        self._idle: deque[T] = deque()
        self._waiting: deque[SimpleQueue[T]] = deque()

    def put(self, item: T) -> None:
        """Add one, or put it back."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().put(item)
            else:
                self._idle.append(item)

    def get(self, timeout_s: float = 0.0) -> T:
        """Take one.

        Args:
            timeout_s: The longest wait for one, in seconds.

        Raises:
            queue.Empty: All are in use for that long.
        """
        with self._lock:
            if self._idle:
                return self._idle.popleft()
            if timeout_s <= 0.0:
                raise Empty
            handed: SimpleQueue[T] = SimpleQueue()
            self._waiting.append(handed)
        try:
            return handed.get(timeout=timeout_s)
        except Empty:
            with self._lock:
                if handed in self._waiting:
                    self._waiting.remove(handed)
                    raise
            # It came at the last moment.
            return handed.get_nowait()
