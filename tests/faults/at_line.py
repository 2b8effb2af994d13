"""The `studio` command, which gets a signal at the n-th line that its main thread executes in chosen files of studio.

`python at_line.py SIGNAL N UNTIL FILE,FILE… WORD…` counts until the function UNTIL (FILE:NAME) is entered, where the
signal comes at the latest; N = 0 only counts, and says `lines: COUNT` on stderr then.
No module is changed: the interpreter's own trace function sees each line.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Any

NUMBER = signal.Signals[sys.argv[1]]
AT = int(sys.argv[2])
UNTIL = sys.argv[3].split(":")
FILES = tuple(sys.argv[4].split(","))
count = 0


def line(frame: FrameType, event: str, arg: object) -> Any:
    global count
    if event == "line":
        count += 1
        if count == AT:
            sys.settrace(None)
            os.kill(os.getpid(), NUMBER)
    return line


def call(frame: FrameType, event: str, arg: object) -> Any:
    file, name = frame.f_code.co_filename, frame.f_code.co_name
    if name != UNTIL[1] or not file.endswith(UNTIL[0]):
        return line if file.endswith(FILES) else None
    sys.settrace(None)
    if AT == 0:
        print(f"lines: {count}", file=sys.stderr)
    else:  # fewer lines than when they were counted
        os.kill(os.getpid(), NUMBER)
    return None


sys.argv[1:] = sys.argv[5:]
from studio.cli.main import main  # noqa: E402 - what is imported before is not traced

sys.settrace(call)
main()
