# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Reading many small datasets, several at a time where they are far away."""

from __future__ import annotations

__all__ = ("Fetcher",)

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from lsst.daf.butler import Butler, DatasetRef

from ..repository import is_far

# As many as the connections that lsst.resources keeps to a server.
_THREADS = 4
# Results that may wait to be taken.
_AT_ONCE = 256


class Fetcher:
    """Reads datasets several at a time, which pays if they are far."""

    def __init__(self, butler: Butler) -> None:
        self._butler = butler
        self.far = is_far(butler)
        """Whether files come over a network."""

    def each[T](
        self, refs: Iterable[DatasetRef], read: Callable[[Butler, DatasetRef], T]
    ) -> Iterator[tuple[DatasetRef, T | Exception]]:
        """Read datasets, and yield them in their order, or why they cannot be read."""
        own = threading.local()

        def fetch(ref: DatasetRef) -> tuple[DatasetRef, T | Exception]:
            if not hasattr(own, "butler"):
                own.butler = self._butler.clone()
            return ref, _try(own.butler, ref, read)

        with ThreadPoolExecutor(_THREADS, "bgqa-fetch") as pool:
            for some in itertools.batched(refs, _AT_ONCE):
                yield from pool.map(fetch, some)


def _try[T](butler: Butler, ref: DatasetRef, read: Callable[[Butler, DatasetRef], T]) -> T | Exception:
    try:
        return read(butler, ref)
    except Exception as error:
        # The datastore and the formatter have errors of their own.
        return error
