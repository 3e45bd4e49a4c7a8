# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The one catalogue of metrics, and the bundles that hold their values."""

from ._bundle import *
from ._catalogue import *
from ._measure import *
from ._quantities import *
