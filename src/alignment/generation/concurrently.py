"""Work that mostly waits, in many threads, of which a bounded number is at work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def as_done(
    function: Callable[[Item], Result], items: Iterable[Item], *, at_once: int
) -> Iterator[tuple[Item, Result | BaseException]]:
    """Each item with what `function` made of it, or raised, as soon as it is there.

    Items are taken by the thread of the caller as they are needed, so `items` may be endless, and need not be safe for
    threads. The threads are daemons: a process that is interrupted does not wait for them.

    Args:
        at_once: items that are worked on at the same time, those included that the caller has not been given yet.
    """
    source = iter(items)
    tasks: SimpleQueue[tuple[Item] | None] = SimpleQueue()
    outcomes: SimpleQueue[tuple[Item, Result | BaseException]] = SimpleQueue()
    workers = waiting = 0

    def work() -> None:
        while (task := tasks.get()) is not None:
            try:
                outcomes.put((task[0], function(task[0])))
            except BaseException as error:  # told by the thread of the caller
                outcomes.put((task[0], error))

    try:
        for item in source:
            tasks.put((item,))
            waiting += 1
            if workers < waiting:
                Thread(target=work, daemon=True).start()
                workers += 1
            if waiting == at_once:
                yield outcomes.get()
                waiting -= 1
        while waiting:
            yield outcomes.get()
            waiting -= 1
    finally:
        for _ in range(workers):
            tasks.put(None)
