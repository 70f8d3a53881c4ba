"""Damaged inputs against every command: each ends well or in one message, in bounded time, without other output.

    python benchmarks/fuzz_inputs.py --seconds 600
    python benchmarks/fuzz_inputs.py --kind onnx --seed 1234 --keep /tmp/case    # one input again

Commands run in this process. What is printed names the seed of each input on which one went wrong; exit code 1 then.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fuzz import KINDS

from n6convert.cli import run

#: what only the last nets say, in place of a message about the input
_NETS = ("unexpected ", "Traceback", "the plugin failed in", "is malformed", "this is a bug")
_SECONDS = 60


def try_input(kind: str, seed: int, folder: Path, seconds: int = _SECONDS, skip: int = 0) -> list[str]:
    """Write the input of a seed into an empty folder and run its commands there; a line for each that went wrong.

    Args:
        seconds: time for each command.
        skip: leave out this many commands in turn, to be quick: one of ``skip + 1`` runs.
    """
    rng = Random(f"{kind} {seed}")
    commands = KINDS[kind](rng, folder)
    return [
        f"{kind} {seed}: {' '.join(command[:3])}: {problem}"
        for index, command in enumerate(commands)
        if (index + seed) % (skip + 1) == 0 and (problem := _problem(command, folder, seconds))
    ]


def _problem(command: Sequence[str], folder: Path, seconds: int) -> str | None:
    output, errors = io.StringIO(), io.StringIO()
    try:
        with _within(folder), _limited(seconds), contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            code = run(command)
    except TimeoutError:
        return f"not done after {seconds} s"
    except BaseException as error:  # what the commands let through is what is looked for
        return f"lets through {type(error).__name__}: {str(error)[:200]}"
    return _judged(code, errors.getvalue())


def _judged(code: int, text: str) -> str | None:
    if code not in (0, 1, 2, 3):
        return f"exit code {code}"
    if any(net in text for net in _NETS):
        return " | ".join(line.strip() for line in text.splitlines()[:6])[:400]
    lines = [line for line in text.splitlines() if line.strip()]
    if code and text and not any(line.startswith("error: ") for line in lines):
        return f"no message: {text[:200]!r}"
    noise = [line for line in lines if not line.startswith(("error: ", "  ", "try: ", "warning: "))]
    return f"prints {noise[0][:200]!r}" if noise and not code else None


@contextlib.contextmanager
def _within(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _limited(seconds: int) -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="how long to go on")
    parser.add_argument("--kind", choices=sorted(KINDS), action="append", help="default: all")
    parser.add_argument("--seed", type=int, help="one input alone")
    parser.add_argument("--first", type=int, default=0, help="seed to begin with")
    parser.add_argument("--keep", type=Path, help="folder that keeps the input of --seed")
    options = parser.parse_args()
    seeds = iter([options.seed]) if options.seed is not None else iter(range(options.first, 1 << 62))
    end, tried, wrong = time.monotonic() + options.seconds, 0, 0
    os.environ["N6CONVERT_CACHE"] = tempfile.mkdtemp(prefix="n6-fuzz-cache-")
    for seed in seeds:
        if time.monotonic() > end:
            break
        for kind in options.kind or KINDS:
            folder = options.keep or Path(tempfile.mkdtemp(prefix="n6-fuzz-"))
            folder.mkdir(parents=True, exist_ok=True)
            print(f"\r{kind} {seed} ", end="", file=sys.stderr, flush=True)  # the culprit, should the process die
            for line in try_input(kind, seed, folder):
                wrong += 1
                print(line, flush=True)
            tried += 1
            if options.keep is None:
                shutil.rmtree(folder)
    shutil.rmtree(os.environ["N6CONVERT_CACHE"], ignore_errors=True)
    print(f"{tried} inputs, {wrong} faults")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(_main())
