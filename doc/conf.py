# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""How Sphinx makes the site: as documenteer does for Rubin's guides."""

import pydoc
import re
from collections.abc import Iterable, Iterator
from typing import Any

from documenteer.conf.guide import *

import lsst.bgqa
import lsst.bgqa.tasks
from lsst.daf.butler import DimensionUniverse
from lsst.pex.config import Config, ConfigField, DictField, ListField
from lsst.pipe.base import PipelineTask

# An exported name counts once it is there.
for name in lsst.bgqa.__all__:
    getattr(lsst.bgqa, name)

exclude_patterns += ["README.md", "_templates", "images"]
templates_path.append("_templates")
myst_heading_anchors = 4
# The docstrings' own format, which knows several attributes in one entry; types
# are in signatures.
for name in ("sphinx.ext.napoleon", "sphinx_autodoc_typehints"):
    extensions.remove(name)
extensions.append("numpydoc")
numpydoc_show_class_members = False
# A parameter a line, with its type.
python_maximum_signature_line_length = 60
# The notebook shows the demo that `make docs` has made.
nb_execution_mode = "force"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
# The site has no address of its own to name.
extensions.remove("sphinx_sitemap")
ogp_social_cards = {"enable": False}
html_sidebars["start"] = []
html_static_path.append("_static")
html_css_files.append("bgqa.css")

DIMENSIONS = DimensionUniverse().dimensions.names


def in_order(dimensions: Iterable[str]) -> str:
    """Return dimensions in the order in which data IDs have them."""
    return ", ".join(name for name in DIMENSIONS if name in dimensions)


def describe_task(task: type[PipelineTask]) -> dict[str, Any]:
    """Return what a task's page says, from the task's own classes."""
    config = task.ConfigClass
    connections = config.ConnectionsClass
    return {
        "label": task._DefaultName,
        "dimensions": in_order(connections.dimensions),
        "config": config.__name__,
        "connections": connections.__name__,
        "templates": connections.defaultTemplates,
        "datasets": [
            {
                "connection": name,
                "role": re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(connection).__name__).lower(),
                "name": connection.name.format(**connections.defaultTemplates),
                "storage_class": connection.storageClass,
                "dimensions": in_order(connection.dimensions),
                "doc": connection.doc,
                "uses": re.findall(r"\{(\w+)\}", connection.name),
            }
            for name, connection in connections.allConnections.items()
        ],
        "fields": list(describe_fields(config())),
    }


def describe_fields(config: Config, prefix: str = "") -> Iterator[dict[str, str]]:
    """Yield a row for each field of a configuration, nested ones included."""
    for name, field in config._fields.items():
        value = getattr(config, name)
        match field:
            case _ if name in ("connections", "saveLogOutput"):
                continue
            case ConfigField():
                yield from describe_fields(value, f"{prefix}{name}.")
                continue
            case DictField():
                kind = f"dict of {field.keytype.__name__} to {field.itemtype.__name__}"
                value = dict(value)
            case ListField():
                kind = f"list of {field.itemtype.__name__}"
                value = value and list(value)
            case _:
                kind = field.dtype.__name__
        yield {"name": f"{prefix}{name}", "type": kind, "default": repr(value), "doc": field.doc}


tasks = {
    name: describe_task(task)
    for name, task in vars(lsst.bgqa.tasks).items()
    if isinstance(task, type) and issubclass(task, PipelineTask)
}
autosummary_context = {"tasks": tasks}


def stay_in_site(app: Any, docname: str, source: list[str]) -> None:
    """Lead links to pages beside ``doc`` to the pages that include them."""
    for folder in ("benchmarks", "pipelines"):
        source[0] = source[0].replace(f"](../{folder}/README.md", f"]({folder}.md")


def name_fields_once(app: Any, docname: str, source: list[str]) -> None:
    """Leave the fields of a class to its docstring and its signature."""
    if not docname.startswith("api/"):
        return
    owner: Any = pydoc.locate(docname.removeprefix("api/"))
    fields = getattr(owner, "__dataclass_fields__", getattr(owner, "_fields", ()))
    for field in fields:
        entry = rf"^ +(~\w+\.|\.\. autoattribute:: ){field}\n"
        source[0] = re.sub(entry, "", source[0], flags=re.MULTILINE)
    empty = r"   \.\. rubric:: Attributes \w+\n\n(   \.\. autosummary::\n\n)?\n*(?=   \.\. rubric|\Z)"
    source[0] = re.sub(empty, "", source[0])


def setup(app: Any) -> None:
    """Add what this site has of its own."""
    app.connect("source-read", stay_in_site)
    app.connect("source-read", name_fields_once)
