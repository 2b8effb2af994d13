"""Hides itself: runs the sitecustomize that was there before, then starts studio's hooks in this interpreter.

Found because `studio run` puts this folder first on PYTHONPATH. No function is defined here: the file must at least
parse in any interpreter that a script's children may start, Python 2 included.
"""

import os
import sys

if __name__ == "sitecustomize":
    _here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if entry.rstrip("/\\") != _here and os.path.abspath(entry) != _here]
    _self = sys.modules.pop(__name__)
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401  (the next one on the path)
    except ImportError as _exc:
        if getattr(_exc, "name", "sitecustomize") != "sitecustomize":
            raise
    finally:
        sys.modules.setdefault("sitecustomize", _self)
        if os.environ.get("STUDIOML_SPOOL"):
            sys.path.insert(0, _here)
            try:
                if sys.version_info >= (3, 7):  # noqa: UP036  (the script's Python, not studio's)
                    import _studio_hooks  # type: ignore[import-not-found]

                    _studio_hooks.start(_here)
                else:
                    import _studio_old  # type: ignore[import-not-found]  # noqa: F401  (it says so)
            except Exception as _exc:  # noqa: BLE001  (the script must start in any case)
                sys.stderr.write("studio: tracking hooks are off: " + repr(_exc) + "\n")
            finally:
                sys.path.remove(_here)
