# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What a faulty Python does as it starts, where `bgqa env` puts this folder
on PYTHONPATH.
"""
