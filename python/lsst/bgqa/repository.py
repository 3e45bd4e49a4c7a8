# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Data repositories, wherever they are, and collections in them."""

from __future__ import annotations

__all__ = ("check_path", "dataset_types", "find_collections", "is_far", "is_remote", "open_repository")

import contextlib
from collections.abc import Iterable

from lsst.daf.butler import Butler, DatasetType, MissingCollectionError

from . import standalone
from .errors import UserError, one_line, reason_of


def open_repository(repo: str, *, writeable: bool = False) -> Butler:
    """Open a data repository.

    Parameters
    ----------
    repo
        The repository: a path, a URI, or a label of the repository index.
    writeable
        Whether it is to be written to.

    Raises
    ------
    ~lsst.bgqa.errors.UserError
        Raised if it cannot be opened. The message names the deepest cause,
        and the extra that brings a driver which is not installed.
    """
    check_path(repo)
    standalone.adopt_formatters()
    try:
        return Butler.from_config(repo, writeable=writeable)
    except Exception as error:
        # Each kind of database, of storage and of server has errors of its own.
        reason = reason_of(error)
        if isinstance(error, FileNotFoundError) and "(given " in str(error):
            # The Butler speaks of variables that the user need not know.
            reason = f"there is none{_known_labels()}"
        raise UserError(f"{repo}: cannot be opened as a data repository: {reason}") from error


def check_path(repo: str) -> None:
    """Refuse a path that a Butler would take for another.

    Raises
    ------
    ~lsst.bgqa.errors.UserError
        Raised if a letter in it has a meaning in URIs.
    """
    if "://" not in repo and (found := sorted(set("#%?") & set(repo))):
        raise UserError(f"{repo}: a Butler does not find a path with {' or '.join(found)} in it; rename it")


def _known_labels() -> str:
    labels: set[str] = set()
    with contextlib.suppress(Exception):  # an index that cannot be read
        labels = Butler.get_known_repos()
    return f" (known labels: {', '.join(sorted(labels))})" if labels else ""


def is_remote(butler: Butler) -> bool:
    """Whether a server only lets one read a repository: nothing is written, no quanta run."""
    return type(butler).__name__ == "RemoteButler"


def is_far(butler: Butler) -> bool:
    """Whether datasets come from a server, or from other than this machine's file systems."""
    if is_remote(butler):
        return True
    return any(root is not None and not root.isLocal for root in butler.get_datastore_roots().values())


def dataset_types(butler: Butler, names: Iterable[str]) -> list[DatasetType]:
    """Look up dataset types, by name; a server is asked once."""
    wanted = sorted(names)
    # Butler.get_dataset_type takes one at a time, a request each.
    found = butler.registry.queryDatasetTypes(wanted, missing=[]) if wanted else []
    return sorted(found, key=lambda dataset_type: dataset_type.name)


def find_collections(butler: Butler, expression: str) -> tuple[str, ...]:
    """Find the collections that a user names, in the order in which they are named.

    Those that one pattern fits are in the order of their names.

    Raises
    ------
    ~lsst.bgqa.errors.UserError
        Raised if there is no such collection, or none is named.
    """
    found: dict[str, None] = {}
    for name in filter(None, (part.strip() for part in expression.split(","))):
        try:
            matching = sorted(butler.collections.query(name))
        except MissingCollectionError as error:
            raise UserError(one_line(error)) from error
        if not matching:
            raise UserError(f"no collection fits {name!r}")
        found |= dict.fromkeys(matching)
    if not found:
        raise UserError(f"{expression!r} does not name a collection")
    return tuple(found)
