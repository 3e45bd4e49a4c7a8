# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Files that the stack wrote, in a Butler without the stack.

A datastore records by which formatter a dataset was written, and reads it by
that, whatever the configuration says. The stack's own formatters are in
lsst.obs.base, which is not there.
"""

from __future__ import annotations

__all__ = ("adopt_formatters",)

import functools
from typing import Any

from .. import stack

_STACK = "lsst.obs."
_OURS = {
    "Background": "lsst.bgqa.standalone.formatters.BackgroundFormatter",
    "ExposureF": "lsst.bgqa.standalone.formatters.ExposureFormatter",
}


@functools.cache
def adopt_formatters() -> None:
    """Let Butlers of this process read what the stack wrote.

    Where the datastore has recorded a formatter of the stack for a
    ``Background`` or an ``ExposureF``, the standalone one takes its place.
    Nothing is done in the stack.

    Notes
    -----
    There is no configuration for this, so that the function by which the
    Butler makes formatters is wrapped.
    """
    if stack.have_stack():
        return
    from lsst.daf.butler.datastores.file_datastore import get

    make = get.get_instance_of

    @functools.wraps(make)
    def make_ours(formatter: Any, descriptor: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(formatter, str) and formatter.startswith(_STACK):
            formatter = _OURS.get(descriptor.storageClass.name, formatter)
        return make(formatter, descriptor, *args, **kwargs)

    get.get_instance_of = make_ours  # type: ignore[assignment]
