"""Read transcripts in several processes, each result in its turn: nearly all of an import is reading and redaction.

Each process makes the rows of every n-th session and waits until they are fetched, so that few are in memory.  Only the
process of the import writes.  What a process could not make, as it was killed, for example, is made here.
"""

from __future__ import annotations

import marshal
import os
import signal
from contextlib import suppress
from typing import NamedTuple

from localops import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import NoReturn

    from localops.journal.rows import Row

_WORTH_IT = 8 << 20  # bytes: a process takes as long to start as a transcript of this size to read
_MOST = 8
_LENGTH = 8


class Job(NamedTuple):
    """The transcripts of one session."""

    session: bytes
    paths: list[str]
    is_continued: bool = False  # an earlier one has the same session


class Made(NamedTuple):
    """The rows of one session that an importer has made, and the problems of its transcripts."""

    session: bytes
    rows: list[Row]
    last: int  # the time of the last line
    begins_here: bool
    files: int
    problems: list[str]
    waits: bool = False  # for its files to settle: they will say more without being written to


def results(
    jobs: Sequence[Job], make: Callable[[Job], Made], *, processes: int | None = None
) -> Iterator[tuple[Job, Made]]:
    """Yield the rows of each session, in order; the caller writes them before it asks for the next.

    By default there are as many processes as processors, and none beside this one for little work.
    """
    workers = _started(jobs, make, _useful(jobs) if processes is None else processes)
    try:
        for number, job in enumerate(jobs):
            made = workers[number % len(workers)].result() if workers else None
            # The rows of a session must be written before its later lines are read.
            if made is None or made.session not in (job.session, b"") or job.is_continued:
                made = make(job)
            yield job, made
    finally:
        for worker in workers:
            worker.stop()


def _useful(jobs: Sequence[Job]) -> int:
    count = min(_MOST, _processors(), len(jobs))
    return count if count > 1 and not _has_threads() and sum(map(_size, jobs)) >= _WORTH_IT else 0


def _started(jobs: Sequence[Job], make: Callable[[Job], Made], count: int) -> list[_Worker]:
    workers: list[_Worker] = []
    try:
        workers.extend(_Worker(jobs[first::count], make) for first in range(count))
    except OSError:  # no further process is allowed
        for worker in workers:
            worker.stop()
        return []
    except BaseException:
        for worker in workers:
            worker.stop()
        raise
    return workers


def _processors() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return os.cpu_count() or 1


def _has_threads() -> bool:
    """Return whether a fork could copy a lock that another thread holds."""
    import threading

    return threading.active_count() > 1 or threading.current_thread() is not threading.main_thread()


def _size(job: Job) -> int:
    size = 0
    for path in job.paths:
        with suppress(OSError):
            size += os.stat(path).st_size
    return size


class _Worker:
    """A process that makes rows, and the pipe that they come through."""

    def __init__(self, jobs: Sequence[Job], make: Callable[[Job], Made]) -> None:
        reading, writing = os.pipe()
        try:
            self._pid = os.fork()
        except OSError:
            os.close(reading)
            os.close(writing)
            raise
        if self._pid == 0:
            os.close(reading)
            _work(writing, jobs, make)
        os.close(writing)
        self._pipe = open(reading, "rb")  # noqa: SIM115  until `stop`

    def result(self) -> Made | None:
        """Return what the process made next; None if it could not make it."""
        length = self._pipe.read(_LENGTH)
        data = self._pipe.read(int.from_bytes(length))
        if len(length) < _LENGTH or len(data) < int.from_bytes(length) or not data:
            return None
        notices, *fields = marshal.loads(data)  # noqa: S302  our own process wrote it
        for notice in notices:
            output.say_once(notice, notice)
        return Made(*fields)

    def stop(self) -> None:
        """End the process, and wait until it has ended."""
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        self._pipe.close()


def _work(writing: int, jobs: Sequence[Job], make: Callable[[Job], Made]) -> NoReturn:
    """Write the result of each job to the pipe, and end; an empty one where it failed."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # when the import ends, so does this
        notices: list[str] = []

        def keep(message: str, _: str) -> str:
            notices.append(message)
            return ""

        output.write_as(keep)
        with open(writing, "wb") as pipe:
            for job in jobs:
                data = _result(job, make, notices)
                pipe.write(len(data).to_bytes(_LENGTH) + data)
                pipe.flush()
    finally:
        os._exit(0)


def _result(job: Job, make: Callable[[Job], Made], notices: list[str]) -> bytes:
    if job.is_continued:
        return b""
    notices.clear()
    try:
        return marshal.dumps((notices, *make(job)))
    except Exception:  # the edge: it is made again by the import itself, which raises it
        return b""
