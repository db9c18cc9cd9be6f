"""Training pictures with their captions and known factors: generated, or read from folders; written as kohya folders."""

from loralab.data.captions import caption_for
from loralab.data.dataset import DatasetContents, Subset, gather_dataset, read_dataset
from loralab.data.draws import draw_caption
from loralab.data.folders import FolderContents, read_folder
from loralab.data.generators import make_examples
from loralab.data.kohya import write_kohya_folder
from loralab.data.tags import says, with_words, without_words
from loralab.data.training_picture import TrainingPicture, make_showings, make_training_pictures
from loralab.data.trigger import Trigger, find_trigger, guess_trigger
from loralab.generators.example import Example

__all__ = [
    "DatasetContents", "Example", "FolderContents", "Subset", "TrainingPicture", "Trigger", "caption_for", "draw_caption", "find_trigger",
    "gather_dataset", "guess_trigger", "make_examples", "make_showings", "make_training_pictures", "read_dataset", "read_folder", "says",
    "with_words", "without_words", "write_kohya_folder",
]  # fmt: skip
