"""Which pages under docs/results are stale, and how they are made again: the pages' last lines in, a list or new pages out.

python -m organism.results check             what is stale and why; `--gate` ends with 1 where anything is
python -m organism.results make              makes what is stale and needs no hand, in order; what was interrupted goes on
python -m organism.results stamp PAGE ...    after a page was made by hand: writes what it rests on now
python -m organism.results index             docs/results/index.md from the table in `results_pages`
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loralab.store import write_atomically
from organism import article_page
from organism.rests_on import ROOT, hash_of
from organism.results_pages import PAGES, SUMMARIES, Page

FOLDER = ROOT / "docs" / "results"
UNKNOWN = "unknown"
LINE = re.compile(r"^Rests on: (?P<told>.*)\.$", re.MULTILINE)
ONE = re.compile(r"(?P<name>[a-z]+) `(?P<hash>[0-9a-f]{12}|unknown)`")

Now = Callable[[str], str]


@dataclass(frozen=True)
class State:
    """A page and what it rests on that has changed, or of which nobody knows what it was."""

    page: Page
    changed: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def stale(self) -> bool:
        """Whether the page may say something else today."""
        return bool(self.changed or self.unknown)

    @property
    def why(self) -> str:
        """Say what has changed and what is not known."""
        return "; ".join([*(f"{name} changed" for name in self.changed), *(f"{name} not known" for name in self.unknown)])


def told_in(text: str) -> dict[str, str]:
    """Return what a page says that it rests on, by name; empty where it says nothing."""
    found = LINE.search(text)
    return {match["name"]: match["hash"] for match in ONE.finditer(found["told"])} if found else {}


def line_of(told: Mapping[str, str]) -> str:
    """Return the line that says it."""
    return f"Rests on: {', '.join(f'{name} `{value}`' for name, value in told.items())}."


def stamped(text: str, told: Mapping[str, str]) -> str:
    """Return a page with this as its last line, in place of an older one."""
    return f"{LINE.sub('', text).rstrip()}\n\n{line_of(told)}\n"


def state_of(page: Page, text: str, now: Now = hash_of) -> State:
    """Return what of a page's ground has changed; a page that says nothing is stale in all that it rests on."""
    told = {name: told_in(text).get(name, UNKNOWN) for name in page.rests}
    changed = tuple(name for name, value in told.items() if value not in (UNKNOWN, now(name)))
    return State(page, changed, tuple(name for name, value in told.items() if value == UNKNOWN))


def states(folder: Path = FOLDER, pages: Sequence[Page] = PAGES, now: Now = hash_of) -> list[State]:
    """Return the state of every page, in the order in which they are made; one that is not there is stale in everything."""
    return [state_of(page, text_of(folder / page.file), now) for page in pages]


def text_of(path: Path) -> str:
    """Return a page, empty where it is not there."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def stamp(page: Page, folder: Path = FOLDER, now: Now = hash_of) -> None:
    """Write what a page rests on now as its last line."""
    path = folder / page.file
    write_atomically(path, stamped(path.read_text(encoding="utf-8"), {name: now(name) for name in page.rests}).encode())


def make_stale(
    run: Callable[[Page], int], folder: Path = FOLDER, pages: Sequence[Page] = PAGES, now: Now = hash_of
) -> Iterator[tuple[Page, str]]:
    """Make each stale page in order and stamp it; yields (page, what became of it) and ends at the first that fails.

    A page is stamped only when it is whole, so that the next call begins with the one that was interrupted; studies go on in their lab.
    What a page rests on is read before it is made: a change meanwhile leaves it stale.
    """
    for state in states(folder, pages, now):
        if not state.stale:
            continue
        if not state.page.command:
            yield state.page, "by hand"
            continue
        before = {name: now(name) for name in state.page.rests}
        if run(state.page) != 0:
            yield state.page, "failed"
            return
        stamp(state.page, folder, before.__getitem__)
        yield state.page, "made"


def run_command(page: Page) -> int:
    """Run a page's command in the repository's root and return its exit status; a study's summary becomes the page."""
    done = subprocess.run([sys.executable, "-W", "ignore", *shlex.split(page.command)], cwd=ROOT, check=False).returncode
    if done == 0 and page.name == "article":
        article_page.main([str((ROOT / SUMMARIES[page.name]).parent)])
    elif done == 0 and page.name in SUMMARIES:
        copy_summary(ROOT / SUMMARIES[page.name], FOLDER / f"{page.name}.md")
    return done


def copy_summary(summary: Path, target: Path, section: str = "") -> None:
    """Make a study's summary a page, its pictures in the folder of the page's name; ``section`` comes before the first question."""
    pictures = target.with_suffix("")
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir(parents=True)
    for picture in summary.glob("*.png"):
        shutil.copyfile(picture, pictures / picture.name)
    text = (summary / "summary.md").read_text(encoding="utf-8")
    text = re.sub(r"\]\(([\w.-]+\.png)\)", rf"]({pictures.name}/\1)", text)
    head, mark, rest = text.partition("\n## ")
    write_atomically(target, (f"{head}\n{section}{mark}{rest}" if section else text).encode())


def write_states(found: Sequence[State]) -> str:
    """Return a line a stale page with its hours and why, and how many are not stale."""
    stale = [state for state in found if state.stale]
    width = max((len(state.page.name) for state in stale), default=0)
    lines = [f"{state.page.name:{width}}  {hours(state.page):>8}  {state.why}" for state in stale]
    total = sum(state.page.hours for state in stale)
    counted = f"{len(stale)} of {len(found)} pages are stale"
    return "\n".join([*lines, f"{counted}; about {total:.1f} hours make them again" if stale else f"{counted}."])


def hours(page: Page) -> str:
    """Return how long a page takes, by hand or not."""
    return f"{page.hours:g} h" + ("" if page.command else ", by hand")


def write_index(pages: Sequence[Page] = PAGES) -> str:
    """Return the page of pages: the order in which they are made, what each rests on, hours of two cores, and how."""
    lines = [
        "# Results, and what they rest on",
        "",
        "Each page ends with the hashes of what it rests on when it was made: petri's weights, its sibling's, the versions of the",
        "instruments, the readers of the fidelity table, the rule (by what it says to made-up readings), the meaning of a study's file.",
        "`make results-check` lists the pages for which one of these has changed since, or is not known; `make results` makes them",
        "again in the order below and continues where it was stopped. Hours are those of two cores without other work, estimated.",
        "",
        "| page | rests on | hours | made by |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| [{page.name}]({page.file}) | {', '.join(page.rests) or 'code that its tests hold'} | {page.hours:g} | {how(page)} |"
        for page in pages
    ]
    return "\n".join([*lines, ""])


def how(page: Page) -> str:
    """Return how a page is made."""
    return f"`python {page.command}`" if page.command else page.by_hand


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the commands and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m organism.results", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("check", "make", "stamp", "index"))
    parser.add_argument("pages", nargs="*", help="names of pages; left out: all")
    parser.add_argument("--gate", action="store_true", help="check: end with 1 where a page is stale")
    given = parser.parse_args(argv)
    known = {page.name: page for page in PAGES}
    if strange := [name for name in given.pages if name not in known]:
        parser.error(f"no such page: {', '.join(strange)}; there are {', '.join(known)}")
    chosen = [known[name] for name in given.pages] or list(PAGES)
    if given.what == "check":
        found = states(pages=chosen)
        print(write_states(found))
        return int(given.gate and any(state.stale for state in found))
    if given.what == "index":
        write_atomically(FOLDER / "index.md", write_index().encode())
    elif given.what == "stamp":
        if not given.pages:
            parser.error("stamp needs the names of pages: what was not made anew must not say that it was")
        for page in chosen:
            stamp(page)
    else:
        return make_all(chosen)
    return 0


def make_all(pages: Sequence[Page]) -> int:
    """Make what is stale, say what became of each page, and return the exit status."""
    status = 0
    for page, became in make_stale(run_command, pages=pages):
        print(f"{page.name}: {became}" + (f" ({page.by_hand})" if became == "by hand" else ""), flush=True)
        status = 1 if became == "failed" else status
    return status


if __name__ == "__main__":
    raise SystemExit(main())
