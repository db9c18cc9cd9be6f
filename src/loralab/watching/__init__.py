"""Checks each new file of a training while it goes on: a folder in; a line an epoch, a page, and when to stop out."""

from loralab.watching.request import Said, WatchRequest
from loralab.watching.run import watch_folder

__all__ = ["Said", "WatchRequest", "watch_folder"]
