# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Reading many small datasets, several at a time where they are far away."""

from __future__ import annotations

__all__ = ("Fetcher",)

import itertools
import queue
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from lsst.daf.butler import Butler, DatasetRef

from ..repository import is_far

# As many as the connections that lsst.resources keeps to a server.
_THREADS = 4
# Results that may wait to be taken.
_AT_ONCE = 256


class Fetcher:
    """Reads datasets in a given order."""

    def __init__(self, butler: Butler) -> None:
        self._butler = butler
        self.far = is_far(butler)
        """Whether files come over a network."""

    def each[T](
        self, refs: Iterable[DatasetRef], read: Callable[[Butler, DatasetRef], T]
    ) -> Iterator[tuple[DatasetRef, T | Exception]]:
        """Read datasets."""
        if not self.far:
            for ref in refs:
                yield ref, _try(self._butler, ref, read)
            return
        clones: queue.SimpleQueue[Butler] = queue.SimpleQueue()

        def borrow(ref: DatasetRef) -> tuple[DatasetRef, T | Exception]:
            try:
                butler = clones.get_nowait()
            except queue.Empty:
                butler = self._butler.clone()
            try:
                return ref, _try(butler, ref, read)
            finally:
                clones.put(butler)

        with ThreadPoolExecutor(_THREADS, "bgqa-fetch") as pool:
            for some in itertools.batched(refs, _AT_ONCE):
                yield from pool.map(borrow, some)


def _try[T](butler: Butler, ref: DatasetRef, read: Callable[[Butler, DatasetRef], T]) -> T | Exception:
    try:
        return read(butler, ref)
    except Exception as error:
        # The datastore and the formatter have errors of their own.
        return error
