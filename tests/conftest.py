# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
import os

from hypothesis import settings

from lsst.bgqa import standalone

# A Butler reads its storage classes once in a process: before any test.
standalone.activate()

# The same examples on every run, however busy the machine is. To look for
# new ones, set HYPOTHESIS_PROFILE=explore.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))
