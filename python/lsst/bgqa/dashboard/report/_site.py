# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The folder of a report, which is complete or not there."""

from __future__ import annotations

__all__ = ("Site", "load_figures", "making")

import datetime
import importlib.metadata
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from ...errors import UserError
from .._output import held, naming, remove_stale
from ..campaign import Campaign
from ._tables import count, share

MARKER = "bgqa-report.json"
_INCOMPLETE = ".incomplete"
_OLD = ".old"
_BREAK = re.compile(r"(?<=_)|(?<=[a-z])(?=[A-Z])")
_ASSETS = ("report.css", "report.js")


def load_figures() -> Any:
    """Import what draws figures; a `~lsst.bgqa.errors.UserError` says what to install."""
    try:
        from . import _figures
    except ModuleNotFoundError as error:
        raise UserError(
            f"a report needs {error.name}, which is not installed; bgqa's extra report brings it "
            "(pip install '.[report]')"
        ) from error
    return _figures


class Site:
    """Writes pages, and what they share, into a folder; ``pages`` are those of the top."""

    def __init__(
        self, folder: Path, campaign: Campaign, title: str, pages: Mapping[str, str], collection: str = ""
    ) -> None:
        import jinja2

        self.folder = folder
        figures = load_figures()
        scripts = {path.name: path.read_bytes() for path in figures.script_files()}
        about = json.dumps(figures.every_figure(), separators=(",", ":"))
        source = resources.files("lsst.bgqa.dashboard.report") / "assets"
        files = scripts | {name: (source / name).read_bytes() for name in _ASSETS}
        files["figures.js"] = f"window.bgqaFigures = {about};\n".encode()
        (folder / "assets").mkdir()
        for name, content in files.items():
            (folder / "assets" / name).write_bytes(content)
        self.report = {
            "title": title,
            "collection": collection or campaign.collection,
            "repository": campaign.repo,
            "made": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
            "version": importlib.metadata.version("lsst-bgqa"),
            "pages": pages,
            "scripts": list(scripts),
        }
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("lsst.bgqa.dashboard.report"),
            auto_reload=False,
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        self._environment.globals |= {"count": count, "share": share, "report": self.report}
        self._environment.filters["breakable"] = _breakable

    def write(self, path: str, template: str, **values: Any) -> None:
        """Write a page."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        root = "../" * path.count("/")
        text = self._environment.get_template(template).render(root=root, here=path, **values)
        target.write_text(text, encoding="utf-8")


def _breakable(name: str) -> Any:
    """Let a long name go on in a new line after an underscore, and before a capital letter."""
    from markupsafe import Markup, escape

    return Markup(_BREAK.sub("<wbr>", str(escape(name))))


@contextmanager
def making(target: Path) -> Iterator[Path]:
    """Make a folder that appears when it is complete."""
    _check(target)
    place = Path(os.path.realpath(target))
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(place, _INCOMPLETE)
        if place.exists():  # otherwise it may be all that there is of an earlier one
            remove_stale(place, _OLD)
        folder = Path(tempfile.mkdtemp(prefix=f".{place.name}-", suffix=_INCOMPLETE, dir=place.parent))
    except OSError as error:
        # A link that leads round in a circle does not exist, but is there.
        there = next((parent for parent in place.parents if os.path.lexists(parent)), place)
        reason = error.strerror if there.is_dir() else f"{there} is not a folder"
        raise UserError(f"{target} cannot be made: {reason}") from error
    try:
        with naming(target), held(folder):
            # As mkdir would have made it, for a web server to read.
            mask = os.umask(0)
            os.umask(mask)
            folder.chmod(0o777 & ~mask)
            yield folder
            about = {"made by": "bgqa report", "files": sorted(_contents(folder)[0])}
            (folder / MARKER).write_text(json.dumps(about) + "\n")
            _check(target)
            if place.exists():
                _exchange(folder, place)
            else:
                folder.rename(place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _exchange(folder: Path, place: Path) -> None:
    """Put a report into the place of an earlier one."""
    old = folder.with_suffix(_OLD)
    place.rename(old)
    try:
        folder.rename(place)
    except BaseException:
        old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _contents(folder: Path) -> tuple[set[str], set[str]]:
    """Return the paths of files, and of what no report writes: links, and folders with nothing in them."""
    files, others = set(), set()
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or (path.is_dir() and not any(path.iterdir())):
            others.add(name)
        elif not path.is_dir():
            files.add(name)
    return files, others


def _check(target: Path) -> None:
    """Refuse to replace what no report wrote."""
    place = Path(os.path.realpath(target))
    if place.is_symlink():
        raise UserError(f"{target} is a link that leads round in a circle; name another folder")
    if not place.exists():
        return
    if place == Path.cwd():
        raise UserError(f"{target} is the current folder, which cannot be replaced; name one for the report")
    if not place.is_dir():
        raise UserError(f"{target} exists, and is not a folder")
    if not any(place.iterdir()):
        return
    try:
        written = set(json.loads((place / MARKER).read_text())["files"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"{target} holds something that is not a report of bgqa; name another folder"
        ) from None
    files, foreign = _contents(place)
    if others := sorted(foreign | (files - written - {MARKER})):
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise UserError(
            f"{target} holds {others[0]}{more}, which no report wrote; move that away, or name another folder"
        )
