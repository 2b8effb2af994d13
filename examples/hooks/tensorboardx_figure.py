import argparse
import random

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
from tensorboardX import SummaryWriter

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=5)
steps = parser.parse_args().steps
random.seed(3)
losses = [random.random() / (step + 1) for step in range(steps)]
with SummaryWriter("runs/second") as writer:
    for step, loss in enumerate(losses):
        writer.add_scalar("loss", loss, step)
plt.plot(losses)
plt.savefig("loss.png")
