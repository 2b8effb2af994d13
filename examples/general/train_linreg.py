"""Linear regression by gradient descent; saves its weights at every step.

studio run --capture=~/weights:weights --experiment linear_regression train_linreg.py
"""

import os

import numpy as np

from studio import fs_tracker

SAMPLES = 100
FEATURES = 5
LEARNING_RATE = 0.01
STEPS = 10

rng = np.random.default_rng()
x = rng.random((SAMPLES, FEATURES))
y = rng.random(SAMPLES)
w = rng.random(FEATURES)

folder = fs_tracker.get_artifact("weights")
os.makedirs(folder, exist_ok=True)

for step in range(STEPS):
    error = x.dot(w) - y
    w -= LEARNING_RATE * error.dot(x)
    loss = 0.5 * error.dot(error)
    print(f"step = {step}, loss = {loss:.6f}, L2 norm = {w.dot(w):.6f}")
    np.save(os.path.join(folder, f"lr_w_{step:02d}.npy"), w)
