"""Says that this interpreter is too old for the hooks, and tells the run of a command which Python it is.

It must run in any Python, Python 2 included. It imports nothing else: the script may have a `json.py` beside it.
"""

import os
import sys

_spool = os.environ["STUDIOML_SPOOL"]
if os.environ.get("STUDIOML_MAIN", "").partition(" ")[2] != _spool:  # else a Python with hooks has started this one
    _text = "Python {}.{} is older than 3.7: output, code and files are recorded, "
    _text += "but no parameters, metrics, models or errors"
    _lines = '{"type": "warning", "text": "' + _text.format(*sys.version_info) + '"}\n'
    if os.environ.pop("STUDIOML_DESCRIBE", None):
        _words = []
        for _word in [sys.executable] + [entry for entry in sys.path if entry and os.path.isabs(entry)]:
            _known = _word.decode("utf-8", "replace") if isinstance(_word, bytes) else _word  # type: ignore[unreachable]
            _plain = [c if (c.isalnum() and c < "\x7f") or c in "/-_." else format(ord(c), "04x") for c in _known]
            _words.append('"' + "".join(c if len(c) == 1 else "\\u" + c[-4:] for c in _plain) + '"')
        _lines += '{"type": "python", "version": "' + "{}.{}.{}".format(*sys.version_info) + '", "executable": '
        _lines += _words[0] + ', "folders": [' + ", ".join(_words[1:]) + "]}\n"
    _fd = os.open(os.path.join(_spool, "events"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(_fd, _lines.encode("ascii"))
    finally:
        os.close(_fd)
