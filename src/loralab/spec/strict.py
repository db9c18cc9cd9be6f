"""The manner of every model of the study file, from where the models of generators have it too."""

from loralab.strict import Strict

__all__ = ["Strict"]
