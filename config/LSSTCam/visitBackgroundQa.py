config.load("resource://lsst.bgqa/config/LSSTCam/backgroundQa.py")
