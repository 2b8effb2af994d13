"""Prints the norm of the newest weights that another experiment saved.

studio run --reuse=linear_regression/weights:w print_norm_linreg.py
"""

import glob
import os

import numpy as np

from studio import fs_tracker

newest = sorted(glob.glob(os.path.join(fs_tracker.get_artifact("w"), "*.npy")))[-1]
w = np.load(newest)

print("*****")
print(os.path.basename(newest))
print(f"{w.dot(w):.6f}")
print("*****")
