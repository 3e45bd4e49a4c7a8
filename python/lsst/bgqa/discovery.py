# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What backgrounds a data repository holds.

Everything is asked of the registry: no dataset is opened.
"""

from __future__ import annotations

__all__ = ("FoundBackground", "discover")

import getpass
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from lsst.daf.butler import Butler, CollectionType, DatasetType, MissingCollectionError

from .errors import UserError
from .generations import Target, find_target
from .repository import dataset_types, is_remote, open_repository

_COMPONENT = "backgrounds"
_MAX_INPUTS = 20


@dataclass(frozen=True)
class FoundBackground:
    """A dataset type that holds backgrounds.

    Attributes
    ----------
    name
        Its name; ``parent.component`` for a component.
    instruments, skymaps
        What its data IDs may be of.
    collections
        Number of datasets in each RUN collection that has any.
    bands
        Number of datasets in each band; empty if they have none.
    omitted
        Number of RUN collections that have such datasets and are too many to
        be named in ``inputs``.
    remote
        Whether a server only lets one read them: no quanta run there.
    """

    name: str
    storage_class: str
    dimensions: tuple[str, ...]
    instruments: tuple[str, ...] = ()
    skymaps: tuple[str, ...] = ()
    collections: Mapping[str, int] = field(default_factory=dict)
    bands: Mapping[str, int] = field(default_factory=dict)
    target: Target | None = None
    inputs: tuple[str, ...] = ()
    omitted: int = 0
    remote: bool = False

    @property
    def count(self) -> int:
        """Number of datasets (`int`)."""
        return sum(self.collections.values())

    def command(self, repo: str) -> str | None:
        """Return the command that judges them, a line for a shell, if a pipeline can."""
        if self.target is None or self.remote:
            return None
        arguments = ["pipetask", "run", "-b", repo, "-i", ",".join(self.inputs)]
        # An output collection belongs to its inputs, and these differ.
        output = f"u/{_user()}/backgroundQa/{self.name.replace('.', '_')}"
        arguments += ["-o", output, "-p", self.target.location]
        for override in self.target.overrides:
            arguments += ["-c", override]
        if where := self._where():
            arguments += ["-d", where]
        return " ".join(map(_quote, [*arguments, "--register-dataset-types"]))

    def _where(self) -> str:
        dimension, names = ("instrument", self.instruments) if self.instruments else ("skymap", self.skymaps)
        if not names:
            return ""
        if len(names) == 1:
            return f"{dimension}='{names[0]}'"
        return f"{dimension} IN ({', '.join(repr(name) for name in names)})"


def discover(repo: str, collections: Sequence[str] = ()) -> list[FoundBackground]:
    """List the dataset types of a repository that hold backgrounds.

    Parameters
    ----------
    repo
        The repository: a path, URI or label.
    collections
        Collections to look in, glob patterns among them; by default all.

    Returns
    -------
    found
        The dataset types that have a dataset there, by name.

    Raises
    ------
    ~lsst.bgqa.errors.UserError
        Raised if the repository cannot be opened, or there is no such
        collection.
    """
    with open_repository(repo) as butler:
        holders = _holders(butler, collections)
        chains = _chains(butler)
        instruments = sorted(r.name for r in _records(butler, "instrument"))
        skymaps = sorted(r.name for r in _records(butler, "skymap"))
        bands = _bands(butler)
        found = [
            _look(butler, dataset_type, runs, collections, chains, instruments, skymaps, bands)
            for dataset_type in _dataset_types(butler, holders)
            if (runs := holders[dataset_type.name])
        ]
    return sorted((f for f in found if f.count), key=lambda f: f.name)


def _holders(butler: Butler, collections: Sequence[str]) -> dict[str, list[str]]:
    """Find the RUN collections that may hold each dataset type."""
    try:
        infos = butler.collections.query_info(
            list(collections) or "*",
            collection_types={CollectionType.RUN},
            flatten_chains=True,
            include_summary=True,
        )
    except MissingCollectionError as error:
        raise UserError(" ".join(str(error).split())) from error
    if collections and not infos:
        raise UserError(f"no RUN collection is called, or a part of, {', '.join(collections)}")
    holders: dict[str, list[str]] = {}
    for info in infos:
        for name in info.dataset_types or ():
            runs = holders.setdefault(name, [])
            if info.name not in runs:
                runs.append(info.name)
    return holders


def _chains(butler: Butler) -> dict[str, set[str]]:
    """Return the RUN collections in each chain, and others that they lead
    to.
    """
    infos = butler.collections.query_info("*", collection_types={CollectionType.CHAINED})
    children = {info.name: info.children for info in infos}

    @cache
    def flatten(name: str) -> frozenset[str]:
        if name not in children:
            return frozenset([name])
        return frozenset().union(*(flatten(child) for child in children[name]))

    return {name: set(flatten(name)) for name in children}


def _dataset_types(butler: Butler, names: Iterable[str]) -> list[DatasetType]:
    """Choose those that are backgrounds, or have them as a component."""
    chosen = []
    for dataset_type in dataset_types(butler, names):
        try:
            if dataset_type.storageClass_name in ("Background", "BackgroundMap"):
                chosen.append(dataset_type)
            elif _COMPONENT in dataset_type.storageClass.allComponents():
                chosen.append(dataset_type)
        except (KeyError, ValueError):
            continue  # a storage class that this installation does not know
    return chosen


def _records(butler: Butler, element: str) -> list:
    return butler.query_dimension_records(element, explain=False)


def _bands(butler: Butler) -> list[str]:
    return sorted({str(r.band) for r in _records(butler, "physical_filter") if r.band is not None})


def _look(
    butler: Butler,
    dataset_type: DatasetType,
    runs: Sequence[str],
    collections: Sequence[str],
    chains: Mapping[str, set[str]],
    instruments: Sequence[str],
    skymaps: Sequence[str],
    bands: Sequence[str],
) -> FoundBackground:
    by_run = _count_by_run(butler, dataset_type, runs)
    full = dataset_type.dimensions
    by_instrument = instruments
    if "instrument" in full and len(instruments) > 1:
        by_instrument = list(_count_by(butler, dataset_type, list(by_run), "instrument", instruments))
    by_band = {}
    if "band" in full:
        by_band = _count_by(butler, dataset_type, list(by_run), "band", bands)
    name, storage_class = dataset_type.name, dataset_type.storageClass_name
    if storage_class not in ("Background", "BackgroundMap"):
        name, storage_class = f"{name}.{_COMPONENT}", "BackgroundMap"
    dimensions = tuple(full.required)
    inputs = _choose_inputs(set(by_run), collections, chains)
    return FoundBackground(
        name=name,
        storage_class=storage_class,
        dimensions=dimensions,
        instruments=tuple(by_instrument) if "instrument" in full else (),
        skymaps=tuple(skymaps) if "skymap" in full else (),
        collections=by_run,
        bands=by_band,
        target=find_target(name, storage_class, dimensions, by_instrument),
        inputs=inputs[:_MAX_INPUTS],
        remote=is_remote(butler),
        omitted=max(len(inputs) - _MAX_INPUTS, 0),
    )


def _count_by_run(butler: Butler, dataset_type: DatasetType, runs: Sequence[str]) -> dict[str, int]:
    counts = {}
    with butler.query() as query:
        for run in runs:
            # In one RUN no data ID is there twice.
            if count := query.datasets(dataset_type, run, find_first=False).count():
                counts[run] = count
    return counts


def _count_by(
    butler: Butler, dataset_type: DatasetType, runs: list[str], dimension: str, values: Iterable[str]
) -> dict[str, int]:
    counts = {}
    if runs:
        with butler.query() as query:
            datasets = query.datasets(dataset_type, runs, find_first=False)
            for value in values:
                if count := datasets.where({dimension: value}).count():
                    counts[value] = count
    return counts


def _choose_inputs(
    runs: set[str], collections: Sequence[str], chains: Mapping[str, set[str]]
) -> tuple[str, ...]:
    """Name few collections that lead to all the datasets."""
    if collections and not any(set(name) & set("*?[") for name in collections):
        return tuple(collections)
    if len(runs) > 1:
        holding = [name for name, children in chains.items() if runs <= children]
        if holding:
            return (min(holding, key=lambda name: (len(chains[name]), name)),)
    return tuple(sorted(runs))


def _quote(argument: str) -> str:
    """Quote an argument for a shell, legibly if it holds single quotes."""
    if "'" in argument and not set(argument) & set('"$`\\!'):
        return f'"{argument}"'
    return shlex.quote(argument)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return os.environ.get("USER", "me")
