"""What tracking costs: studio beside MLflow, trackio, Aim, TensorBoard's writer and Sacred, each as its defaults are.

    python benchmarks/tracking_peers.py [--turns 5] [--kills 3] [--experiments 10000] [--peers mlflow,trackio]

The first run installs each peer into an environment of its own under `benchmarks/out/tracking` and fills it with
experiments to search: up to half an hour. Later ones measure at once, in six to eight minutes. A peer that cannot be
installed is named and left out. `docs/explanation/benchmarks.md` says what is measured and how fair it is.
"""

from tracking.bench import main

if __name__ == "__main__":
    main()
