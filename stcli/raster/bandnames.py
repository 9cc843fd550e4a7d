"""Names of bands: each once, and of those that no file names what tells their files apart.

Archives keep a file a band, ``T33UUP_20210302T101021_B04_10m.jp2``, whose names hold the place and
the day, too. Of these B04 is what a band is called after, so that a model of one day fits the files
of another.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

DATE = re.compile(r"(?<!\d)(\d{4})-?(\d{2})-?(\d{2})(?!\d)")
#: A date with dashes is one word.
_WORD = re.compile(r"(?<!\d)\d{4}-\d{2}-\d{2}(?!\d)|[^\W_]+")


def among_files(names: Sequence[str], stems: Sequence[str]) -> list[str]:
    """Name the bands of several files.

    Parameters
    ----------
    names : sequence of str
        Those that the files give them; a file's stem where it gives none.
    stems : sequence of str
        The stem of each band's file.

    Returns
    -------
    list of str
        Stems are shortened by `told_apart`; names that clash get the file's stem.
    """
    after = [k for k, (name, file) in enumerate(zip(names, stems, strict=True)) if name == file]
    short = dict(zip(after, told_apart([names[k] for k in after]), strict=True))
    found = [short.get(k, name) for k, name in enumerate(names)]
    clashing = Counter(found)
    return [
        f"{file}:{name}" if clashing[name] > 1 and file != name else name
        for name, file in zip(found, stems, strict=True)
    ]


def once_each(names: Sequence[str]) -> list[str]:
    """Give names that are there several times a running number."""
    total, seen, found = Counter(names), Counter[str](), []
    for name in names:
        seen[name] += 1
        found.append(f"{name}#{seen[name]}" if total[name] > 1 else name)
    return found


def told_apart(stems: Sequence[str]) -> tuple[str, ...]:
    """Leave the words that all have out of the names of files.

    Parameters
    ----------
    stems : sequence of str
        Names of files of one band each, without folder and suffix.

    Returns
    -------
    tuple of str
        The other words of each, joined by ``_``. The names as they came where there are not two of
        them, where one would have no word left or only digits, which are numbers of bands, or would
        be another's; and where dates tell them apart, which stay as they are written.
    """
    words = [_WORD.findall(name) for name in stems]
    shared = set[str]().union(*words).intersection(*words)
    left = ["_".join(word for word in name if word not in shared) for name in words]
    apart = len(set(left)) == len(left) > 1
    named = all(name and not name.isdigit() and not DATE.search(name) for name in left)
    return tuple(left) if apart and named else tuple(stems)


def in_common(stems: Sequence[str]) -> str:
    """Give the words that names of files share, as the name of what all of them are.

    Parameters
    ----------
    stems : sequence of str
        Names of files of one band each, of a date each, which is left out.

    Returns
    -------
    str
        The name itself where there is one alone; ``value`` where they have no word in common.
    """
    if len(set(stems)) == 1:
        return stems[0]
    first, *others = [_WORD.findall(name) for name in stems]
    return "_".join(word for word in first if all(word in name for name in others)) or "value"
