# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""For those who read metrics: a campaign's rows, and what is made of them."""

from .campaign import *
