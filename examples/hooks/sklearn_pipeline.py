import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

rng = np.random.default_rng(5)
x = rng.normal(size=(200, 3))
pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.5))
pipeline.fit(x, (x.sum(axis=1) > 0).astype(int))
print(pipeline.predict(np.ones((1, 3)))[0])
