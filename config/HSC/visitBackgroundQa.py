config.load("resource://lsst.bgqa/config/HSC/backgroundQa.py")
# Detector 9 is dead; 104 to 111 are for guiding and focusing.
config.detectors = [number for number in range(104) if number != 9]
# With y to the north, x is to the west, as on the sky.
config.mirrored = False
