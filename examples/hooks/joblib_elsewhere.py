import os

import joblib
import numpy as np
from sklearn.linear_model import Ridge

x = np.random.default_rng(1).normal(size=(50, 3))
model = Ridge(alpha=0.1).fit(x, x.sum(axis=1))
os.makedirs("out", exist_ok=True)
joblib.dump(model, "out/ridge.joblib")
print(model.predict(np.ones((1, 3)))[0])
