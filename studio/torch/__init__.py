"""For PyTorch scripts: checkpoints in one file, and progress lines whose values become metrics of the run.

saver = Saver(model, optimizer)
step = saver.restore(folder)            # 0 the first time
reporter = Reporter(log_interval=10)
reporter.record(step, loss=loss)
reporter.report()                       # Step 10: loss = 0.25000
saver.save(folder, step)
"""

from __future__ import annotations

from .checkpoint import Saver, load_checkpoint, save_checkpoint
from .reporter import Reporter

__all__ = ["Reporter", "Saver", "load_checkpoint", "save_checkpoint"]
