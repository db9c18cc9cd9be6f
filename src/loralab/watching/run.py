"""The watch itself: looks, takes what is whole, has it checked, says what came of it, and ends when it is told to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from loralab.checking import CheckOutcome
from loralab.checking.drawing import Listener
from loralab.checking.found import CheckedFile
from loralab.checking.opening import weigh
from loralab.checking.prompts import find_trigger
from loralab.checking.run import name_of
from loralab.errors import LabError, lab_error
from loralab.portable import remove
from loralab.store.running import published
from loralab.watching.arriving import Seen, Sight, look_again, settled, silence, still_told
from loralab.watching.judging import Epoch, line_of, stop_of
from loralab.watching.looking import look_at, stamps_of, take_over
from loralab.watching.request import Said, WatchRequest
from loralab.watching.scalars import Scalars, estimates_of, step_of
from loralab.watching.session import Session, State, checked_one_by_one, folder_for, open_session, write_page

Say = Callable[[Said], None]
#: a file has to stand still for so many looks before it is taken
SETTLE_LOOKS = 1.0
LEAST_REFRESH_SECONDS = 5
UNKNOWN_ORDER = "The order in which the files were saved is unknown: they are compared side by side, without advice on when to stop."
MORE_THAN_ONE = "The folder contains files from more than one training: they are compared side by side, without advice on when to stop."


@dataclass
class Watch:
    """A watch while it goes on."""

    request: WatchRequest
    session: Session
    say: Say
    scalars: Scalars | None
    copies: Path  # what was taken over, as it lay in the folder
    seen: Seen = field(default_factory=Seen)
    sights: dict[str, Sight] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)  # files by their weights, and notes: each is said once
    stop: str = ""
    arrivals: list[float] = field(default_factory=list)
    last: State | None = None
    outcome: CheckOutcome | None = None


def watch_folder(request: WatchRequest, lab: Path, say: Say, listen: Listener) -> CheckOutcome | None:
    """Watch a folder until nothing new has come for as long as the request says, or until it is interrupted.

    Returns the last state of the page; None where no file came. Raises LabError where base, data set or options cannot be used.
    """
    if request.folder.is_file() or not request.folder.resolve().parent.is_dir():
        what = "a file" if request.folder.is_file() else "in a folder that is not there"
        raise lab_error("spec", f"{request.folder} is {what}", "the folder in which a trainer saves its LoRA files")
    out = folder_for(lab, request.folder, request.check.out)
    scalars = Scalars(request.tensorboard) if request.tensorboard is not None else None
    try:
        with published(lab, "watch", name_of([request.folder]), listen) as hear:
            session = open_session(request.check, lab, out, hear)
            watch = Watch(request, session, say, scalars, out / "files" / (request.folder.resolve().name or "folder"))
            return _watch_to_the_end(watch)
    finally:
        if scalars is not None:
            scalars.close()


def _watch_to_the_end(watch: Watch) -> CheckOutcome | None:
    _warn_of_trigger(watch)
    try:
        _watch(watch)
    except KeyboardInterrupt:
        pass
    finally:
        watch.session.held.executor.close()
    return _ended(watch)


def _watch(watch: Watch) -> None:
    """Look again and again."""
    request, since = watch.request, monotonic()
    if not request.folder.is_dir():
        watch.say(Said("note", f"The folder {request.folder.name} does not exist yet: waiting for it."))
    while True:
        if look(watch):
            since = monotonic()
        if request.until_minutes is not None and monotonic() - since >= 60 * request.until_minutes:
            return
        sleep(request.every_seconds)


def _warn_of_trigger(watch: Watch) -> None:
    """Say at once, not hours later, that the trigger may have to be given."""
    check, captions = watch.request.check, [example.caption for example in watch.session.held.examples]
    if check.trigger is not None or check.prompts is not None:
        return
    try:
        find_trigger(None, captions, {})
    except LabError:
        _note(watch, "No trigger is known yet; it will be looked for in the first file. If you know it, start again with --trigger WORD.")


def look(watch: Watch) -> bool:
    """Look once, take what is ready, and have it checked; return whether anything new came."""
    watch.sights, notes = look_at(watch.request.folder, watch.sights)
    now = monotonic()
    step = look_again(watch.seen, list(watch.sights.values()), now, SETTLE_LOOKS * watch.request.every_seconds)
    watch.seen = step.seen
    for text in (*notes, *step.say):
        _note(watch, text)
    taken = [sight for sight in step.ready if _take(watch, sight)]
    if taken:
        watch.arrivals.append(now)
        _check(watch)
    elif quiet := silence(watch.arrivals, now):
        _note(watch, quiet, f"silence {len(watch.arrivals)}")
    return bool(taken)


def _take(watch: Watch, sight: Sight) -> bool:
    """Take a file over; one that does not fit the base is refused, and said so, until it is written again."""
    try:
        weigh(sight.path, watch.session.held)
        copy = take_over(sight, watch.copies)
    except LabError as error:
        _note(watch, f"Skipped: {error.problems[0].found}.")
        watch.seen = settled(watch.seen, sight)
        return False
    if copy is None:  # it was written again, or is gone: the next look tells
        return False
    watch.seen = settled(watch.seen, sight)
    return True


def _check(watch: Watch) -> None:
    """Check what there is, and say a line for each file that was not told of before."""
    _forget_others(watch)
    for state, file in checked_one_by_one(watch.session, [watch.copies / name for name in stamps_of(watch.copies)]):
        watch.last = state
        for note in state.check.notes:
            _note(watch, UNKNOWN_ORDER if "--order" in note else note)  # that is an option of check
        if state.check.role in ("files", "seeds") and UNKNOWN_ORDER not in watch.told:
            _note(watch, MORE_THAN_ONE)
        weights = state.check.weights[file.label]
        if watch.scalars is not None and (step := step_of(file)) is not None:
            watch.scalars.write(weights, step, state.scores[file.label])
        if weights in watch.told:
            continue
        watch.told.add(weights)
        _tell(watch, state, file)


def _forget_others(watch: Watch) -> None:
    """Remove copies of files that are gone from the folder and belong to another training than what is there now."""
    copies, present = stamps_of(watch.copies), {name: sight.stamp for name, sight in watch.sights.items() if not sight.fault}
    kept = set(still_told(copies, present))
    for name in copies:
        if name not in watch.sights and name not in kept:
            remove(watch.copies / name)


def _tell(watch: Watch, state: State, file: CheckedFile) -> None:
    ordered = state.check.role in ("epochs", "file")
    epochs = [Epoch(label, scores) for label, scores in state.scores.items()]
    place = list(state.scores).index(file.label)
    line = line_of(epochs[place], epochs[:place] if ordered else [])
    stop = stop_of(epochs) if ordered else ""
    refresh = max(LEAST_REFRESH_SECONDS, int(watch.request.every_seconds))
    watch.outcome = write_page(watch.session, state, [text for text in (stop, line) if text], refresh)
    watch.say(Said("epoch", line, _document(state, file)))
    if stop and stop != watch.stop:
        watch.say(Said("stop", stop))
    watch.stop = stop


def _document(state: State, file: CheckedFile) -> Mapping[str, Any]:
    found = estimates_of(state.scores[file.label])
    return {"label": file.label, "file": file.path.name, "step": step_of(file), **{name: each.to_json() for name, each in found.items()}}


def _note(watch: Watch, text: str, about: str = "") -> None:
    if (about or text) not in watch.told:
        watch.told.add(about or text)
        watch.say(Said("note", text))


def _ended(watch: Watch) -> CheckOutcome | None:
    """Write the page once more, which no longer loads itself anew, and say what to do now."""
    if watch.last is None:
        watch.say(Said("end", "No LoRA file came."))
        return None
    outcome = write_page(watch.session, watch.last, [watch.stop] if watch.stop else [], 0)
    n = len(watch.last.scores)
    watch.say(Said("end", f"Watched {n} file{'' if n == 1 else 's'}. {outcome.document['sentences'][0]}"))
    return outcome
