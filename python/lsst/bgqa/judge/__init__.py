# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The one judge: what stands out, in which context, and what it is called."""

from .history import *
from .measure import *
from .peers import *
from .settings import *
from .verdict import *
from .visit import *
from .words import *
