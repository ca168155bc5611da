"""One lock per model, held by fit; and Ctrl-C that waits for a safe place."""

# What the signal module calls: that itself makes enums of handlers, which takes 10 us before Python 3.12.
import _signal  # type: ignore[import-not-found]
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self


class Guard:
    """Lets one thread train a model; what others ask of it meanwhile is refused at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.holder: int | None = None

    @contextmanager
    def held(self, action: str) -> Iterator[None]:
        """Hold the model for training."""
        with self._lock:
            if self.holder is not None:
                whose = "this" if self.holder == threading.get_ident() else "another"
                raise RuntimeError(f"{action}: the model is being trained already, by {whose} thread")
            self.holder = threading.get_ident()
        try:
            yield
        finally:
            self.holder = None

    def check(self, action: str) -> None:
        """Raise if another thread is training the model."""
        if self.holder is not None and self.holder != threading.get_ident():
            raise RuntimeError(f"{action}: the model is being trained by another thread; wait for its fit to end")


class DeferredInterrupt:
    """While entered, Ctrl-C is noted instead of raised; on leaving it is raised.

    Weights, state and counters change together between entering and leaving, so that an interrupted training can go on
    where it stopped. Only Python's own handler is replaced, and only in the main thread: no other gets signals.
    """

    def __init__(self) -> None:
        self.noted = False
        self._active = False

    def __enter__(self) -> Self:
        """Begin to note."""
        main = threading.current_thread() is threading.main_thread()
        self._active = main and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
        if self._active:
            _signal.signal(_signal.SIGINT, self._note)
        return self

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.noted = True

    def was_noted(self) -> bool:
        """Whether Ctrl-C was pressed since entering."""
        return self.noted

    def __exit__(self, *error: object) -> None:
        """Raise what was noted."""
        if self._active:
            _signal.signal(_signal.SIGINT, _signal.default_int_handler)
        if self.noted:
            self.noted = False
            raise KeyboardInterrupt
