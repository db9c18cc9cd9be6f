"""Training of many LoRAs at once over one frozen base: runs in, trained adapters out, a step at a time."""

from loralab.train.feed import Feed
from loralab.train.loop import train_stack
from loralab.train.parts import train_in_parts
from loralab.train.runs import Step, TrainedRun, TrainRun, finished

__all__ = ["Feed", "Step", "TrainRun", "TrainedRun", "finished", "train_in_parts", "train_stack"]
