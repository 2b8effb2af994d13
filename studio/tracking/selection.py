"""What of a large workspace is kept: code first, then what is small; data, checkpoints and caches are left out.

The rule is in docs/howto/artifacts-and-ignore-files.md. It depends on names and sizes alone, so that the same folder
always gives the same artifact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

MOST_FILES = 20_000
"""So many files are kept at most."""

LARGE_SHARE = 10
"""A file of more than this part of the limit is left out, whatever else there is."""

FILE, BYTES, FILES = "file", "bytes", "files"
"""The limits: bytes of one file, bytes of all, number of all."""

MOST_LISTED = 50
"""So many places are listed in a manifest; of more, their topmost folders."""

MOST_IGNORED = 20
"""So many names that ignore files leave out are listed."""

SMALL_BYTES = 1 << 20
CROWD = 200


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PROGRAMS = _words(
    ".py .pyi .pyx .pxd .ipynb .sh .bash .zsh .fish .ps1 .bat .r .rmd .jl .lua .c .h .cc .cpp .cxx .hpp .hh .cu .cuh"
    " .cl .rs .go .java .kt .scala .swift .js .mjs .ts .tsx .jsx .sql .proto .gin .cmake .m .f90 .nix .tf .mk"
)
_SETTINGS = _words(
    ".yaml .yml .toml .cfg .ini .conf .json .jsonc .md .rst .txt .in .lock .xml .html .css .j2 .jinja .properties"
)
_DATA = _words(
    ".npy .npz .csv .tsv .parquet .arrow .feather .h5 .hdf5 .keras .pt .pth .ckpt .safetensors .onnx .pkl .pickle"
    " .joblib .bin .gz .bz2 .xz .zst .zip .tar .tgz .7z .rar .jpg .jpeg .png .gif .bmp .tif .tiff .webp .wav .mp3 .flac"
    " .ogg .mp4 .avi .mov .mkv .tfrecord .tfrecords .rec .lmdb .mdb .db .sqlite .sqlite3 .jsonl .log .dat .mat .nii"
    " .dcm .pb"
)
_DATA_FOLDERS = _words(
    "data dataset datasets checkpoint checkpoints ckpt ckpts weights pretrained wandb mlruns lightning_logs tensorboard"
    " outputs output results artifacts runs logs images imgs videos audio raw downloads"
)


class Sized(NamedTuple):
    """A member as far as this rule looks at it: links and empty folders have 0 bytes."""

    path: str
    bytes: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file, or what a folder (its `path` ends with `/`) has besides what is kept; `bytes` -1: nobody looked.

    `over` is the limit that left it out: FILE, BYTES or FILES; "" where there were several, or it is not known.
    `reason` is the user's ignore file that did, of which nothing but the name is known.
    """

    path: str
    files: int
    bytes: int
    over: str = field(default="", compare=False)
    reason: str = ""


@dataclass(slots=True)
class Selection:
    """What is kept, by path, and what is not, the largest first."""

    kept: set[str] = field(default_factory=set)
    left_out: list[LeftOut] = field(default_factory=list)


def is_program(name: str) -> bool:
    """Whether a file is the text of a program by its name: it is kept wherever it lies."""
    return _suffix(name) in _PROGRAMS


def is_data_folder(name: str) -> bool:
    """Whether a folder's name says that data, checkpoints or results are in it."""
    return name.lower() in _DATA_FOLDERS


def select(members: Iterable[Sized], crowds: Mapping[str, int], limit_bytes: int) -> Selection:
    """Chooses what is kept of a folder.

    Args:
        members: Everything that was found.
        crowds: Folders (`…/`) with too many files to look at each, and how many were not.
        limit_bytes: All that is kept together has at most so many bytes.
    """
    out = Selection()
    fitting: list[Sized] = []
    for one in members:
        if one.bytes > limit_bytes // LARGE_SHARE:
            out.left_out.append(LeftOut(one.path, 1, one.bytes, FILE))
        else:
            fitting.append(one)
    if not crowds and len(fitting) <= MOST_FILES and sum(one.bytes for one in fitting) <= limit_bytes:
        out.kept = {one.path for one in fitting}
    else:
        _fill(fitting, crowds, limit_bytes, out)
    out.left_out.sort(key=_largest)
    return out


def _fill(members: Sequence[Sized], crowds: Mapping[str, int], limit_bytes: int, out: Selection) -> None:
    """Programs and settings one by one, then the rest of each topmost folder, whole or not, while there is room."""
    beside: dict[str, int] = dict(crowds)
    for one in members:
        folder = _folder(one.path)
        beside[folder] = beside.get(folder, 0) + 1
    groups: dict[tuple[int, str], list[Sized]] = {}
    for one in members:
        rank, top = _rank(one, beside[_folder(one.path)]), _top(one.path)
        groups.setdefault((rank, top if rank > 1 and top else one.path), []).append(one)
    unseen: dict[str, int] = {}
    for folder, count in crowds.items():
        unseen[_top(folder)] = unseen.get(_top(folder), 0) + count
    room, places, crowded = limit_bytes, MOST_FILES, frozenset(unseen)
    for (rank, name), group in sorted(groups.items(), key=lambda item: _order(*item)):
        size = sum(one.bytes for one in group)
        if (rank < 2 or name not in crowded) and size <= room and len(group) <= places:
            room, places = room - size, places - len(group)
            out.kept.update(one.path for one in group)
        else:
            more = unseen.pop(name, 0)
            over = BYTES if size > room and not more else FILES
            out.left_out.append(LeftOut(name, len(group) + more, -1 if more else size, over))
    out.left_out += [LeftOut(name or "./", count, -1, FILES) for name, count in unseen.items() if count]


def _order(key: tuple[int, str], group: Sequence[Sized]) -> tuple[int, int, int, str]:
    return key[0], sum(one.bytes for one in group), len(group), key[1]


def _rank(one: Sized, beside: int) -> int:
    """0 programs, 1 settings and small texts, 2 other files, 3 data."""
    suffix = _suffix(one.path)
    if suffix in _PROGRAMS:
        return 0
    if suffix in _DATA or any(is_data_folder(part) for part in one.path.split("/")[:-1]):
        return 3
    small = one.bytes <= SMALL_BYTES and beside <= CROWD
    return 1 if small and (suffix in _SETTINGS or not suffix) else 2


def listed(left_out: Sequence[LeftOut]) -> list[LeftOut]:
    """The same in at most some dozen places: of more, the topmost folders."""
    if len(left_out) <= MOST_LISTED:
        return list(left_out)
    tops: dict[str, LeftOut] = {}
    for one in left_out:
        top, slash, _ = one.path.partition("/")
        before = tops.get(top + slash, LeftOut(top + slash, 0, 0, one.over))
        size = -1 if -1 in (before.bytes, one.bytes) else before.bytes + one.bytes
        over = one.over if one.over == before.over else ""
        tops[top + slash] = LeftOut(top + slash, before.files + one.files, size, over)
    ranked = sorted(tops.values(), key=_largest)
    head, rest = ranked[:MOST_LISTED], ranked[MOST_LISTED:]
    if rest:
        head.append(LeftOut("./", sum(one.files for one in rest), sum(max(0, one.bytes) for one in rest)))
    return head


def ignored(names: Mapping[str, str], more: int) -> list[LeftOut]:
    """What the user's ignore files leave out, the topmost and folders first, and how many more names there are.

    Args:
        names: Each name, that of a folder with `/` at its end, and the ignore file.
        more: So many names are not among them.
    """
    ranked = sorted(names, key=lambda path: (path.rstrip("/").count("/"), not path.endswith("/"), path))
    out = [LeftOut(path, 0 if path.endswith("/") else 1, -1, reason=names[path]) for path in ranked[:MOST_IGNORED]]
    rest = len(ranked) - len(out) + more
    if rest:
        out.append(LeftOut("./", rest, -1, reason=", ".join(sorted(set(names.values())))))
    return out


def _folder(path: str) -> str:
    above, slash, _ = path.rpartition("/")
    return above + slash


def _top(path: str) -> str:
    top, slash, _ = path.partition("/")
    return top + slash if slash else ""


def _largest(one: LeftOut) -> tuple[int, int, str]:
    """What nobody looked at is large."""
    return -(one.bytes if one.bytes >= 0 else 1 << 60), -one.files, one.path


def _suffix(path: str) -> str:
    name = path.rpartition("/")[2]
    stem, dot, ending = name.rpartition(".")
    return dot + ending.lower() if stem and len(ending) < 16 else ""
