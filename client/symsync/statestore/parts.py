"""The files in which one state lies: a first one, and on a hub that can't append a few more beside it."""

import os
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

MOST_PARTS = 16
"""In so many files beside the first one a state may lie on a hub before it is written anew."""

TRIES = 5
"""How often a state is read that is written anew meanwhile."""


def chain(read: Callable[[str], T | None], node: str, size: Callable[[T], int]) -> Iterator[T]:
    """What `read` gives for the files in which a state lies: the first, and each further one is called by where it
    begins. An empty one is the last."""
    begins, more = 0, 1
    file = read(node)
    while file is not None and more:
        yield file
        more = size(file)
        begins += more
        file = read(f"{node}.{begins}")


def is_part(name: str, node: str) -> bool:
    """Whether a file's name is that of a further part of the state called `node`."""
    whole, dot, begins = name.partition(".")
    return whole == node and bool(dot) and begins.isdecimal()


def first_rewrite() -> int:
    """Where the count of rewritings begins: at random, for an earlier file of this name may have been lost."""
    return int.from_bytes(os.urandom(4), "big")
