"""TensorBoard's event file writer, driven as PyTorch's SummaryWriter drives it; its own reader."""

from __future__ import annotations

import time

from work import TEN, main


class TensorBoard:
    """One event file under `logs`."""

    def __init__(self) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self.Event, self.Summary, self.EventFileWriter = Event, Summary, EventFileWriter

    def run(self, body):
        self.writer = self.EventFileWriter("logs")  # queue of 10, flushed every 120 s: its defaults and PyTorch's
        body()
        self.writer.close()

    def scalar(self, name, value, step):
        summary = self.Summary(value=[self.Summary.Value(tag=name, simple_value=value)])
        self.writer.add_event(self.Event(wall_time=time.time(), step=step, summary=summary))

    def one(self, step):
        self.scalar("loss", 0.5, step)

    def ten(self, step):
        for name, value in TEN.items():
            self.scalar(name, value, step)

    def newest(self):
        self.open()
        return max((event.step for event in self._events()), default=-1)

    def open(self):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        self.reader = EventAccumulator("logs", size_guidance={"scalars": 0})

    def curve(self, values):
        def body():
            for step, value in enumerate(values):
                self.scalar("loss", value, step)

        self.run(body)

    def read(self):
        events = self._events()
        return len(events), sum(event.value for event in events)

    def _events(self):
        self.reader.Reload()
        return self.reader.Scalars("loss") if "loss" in self.reader.Tags()["scalars"] else []


if __name__ == "__main__":
    main(TensorBoard)
