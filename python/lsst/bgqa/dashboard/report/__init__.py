# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""A report of a campaign: pages that open from disk."""

from ._comparison import *
from ._make import *
