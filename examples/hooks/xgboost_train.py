import numpy as np
import xgboost

rng = np.random.default_rng(5)
x = rng.normal(size=(200, 3))
data = xgboost.DMatrix(x, (x.sum(axis=1) > 0).astype(int))
params = {"objective": "binary:logistic", "max_depth": 3}
booster = xgboost.train(params, data, 5, evals=[(data, "train")], verbose_eval=False)
print(booster.predict(xgboost.DMatrix(np.ones((1, 3))))[0])
