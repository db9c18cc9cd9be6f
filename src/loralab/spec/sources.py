"""What draws a picture: a base as it is, or an adapter of an arm; told by its type, never read from a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard


@dataclass(frozen=True, order=True)
class BaseSource:
    """A base without a LoRA: the study's own, or the one that the arm named in ``base`` (and perhaps others) has for itself."""

    base: str = ""

    def __str__(self) -> str:
        return f"base of {self.base}" if self.base else "base"


@dataclass(frozen=True)
class AdapterSource:
    """The adapter of one training of an arm, or what was kept of it at ``step``; None is the end of the training."""

    arm: str
    replicate: int
    step: int | None = None

    @property
    def run(self) -> AdapterSource:
        """The end of the same training."""
        return AdapterSource(self.arm, self.replicate)

    def __str__(self) -> str:
        """Return what its file is called."""
        name = f"{self.arm}-r{self.replicate}"
        return name if self.step is None else f"{name}-step{self.step}"


Source = BaseSource | AdapterSource
#: whose pictures a cell holds: an arm's, by its name, or a base's
Who = str | BaseSource
#: the study's own base
BASE = BaseSource()


def is_base(who: Who | Source) -> TypeGuard[BaseSource]:
    """Return whether pictures are a base's own."""
    return isinstance(who, BaseSource)


def who_of(source: Source) -> Who:
    """Return whose pictures a source draws."""
    return source if isinstance(source, BaseSource) else source.arm


def spelled(who: Who) -> str:
    """Return the one text for an arm or a base, for cells, keys and manifests: an arm that is called as a base is, is `arm base`."""
    if isinstance(who, BaseSource):
        return str(who)
    return f"arm {who}" if who == "base" or who.startswith(("base of ", "arm ")) else who


def whose(text: str) -> Who:
    """Return what `spelled` wrote."""
    if text == "base" or text.startswith("base of "):
        return BaseSource(text[len("base of ") :])
    return text.removeprefix("arm ")
