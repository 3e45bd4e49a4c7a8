# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The commands of ``bgqa``, one a module.

Modules import what they need only when a command runs, so that ``bgqa
--help`` is quick.
"""
