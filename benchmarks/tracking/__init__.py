"""What tracking costs: studio beside MLflow, trackio, Aim, TensorBoard's writer and Sacred, in one run."""
