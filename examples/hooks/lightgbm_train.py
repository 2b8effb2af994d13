import lightgbm
import numpy as np

rng = np.random.default_rng(5)
x = rng.normal(size=(200, 3))
data = lightgbm.Dataset(x, (x.sum(axis=1) > 0).astype(int))
params = {"objective": "binary", "learning_rate": 0.2, "verbosity": -1, "num_threads": 1}
booster = lightgbm.train(params, data, 5, valid_sets=[data], valid_names=["train"])
print(booster.predict(np.ones((1, 3)))[0])
