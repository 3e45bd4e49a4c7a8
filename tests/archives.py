# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Datasets in a zip archive, as releases may have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lsst.daf.butler import Butler


def put_into_archive(butler: Butler, refs: list[Any], folder: Path, repo: str) -> None:
    """Put copies of datasets into a repository, as members of an archive."""
    folder.mkdir()
    path = butler.retrieve_artifacts_zip(refs, folder)
    with Butler.from_config(repo, writeable=True) as other:
        for ref in refs:
            other.registry.registerDatasetType(ref.datasetType)
        other.ingest_zip(path, transfer="copy")


def archived(butler: Butler, refs: list[Any], folder: Path) -> str:
    """Make a repository of copies of datasets, in an archive."""
    repo = str(folder / "archived")
    Butler.makeRepo(repo)
    with Butler.from_config(repo, writeable=True) as other:
        other.transfer_dimension_records_from(butler, refs)
    put_into_archive(butler, refs, folder / "zip", repo)
    return repo
