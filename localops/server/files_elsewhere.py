"""A hub's files of rows in a bucket: work in the background, and the notes in the folder about it.

A file goes to the bucket before its sender is answered.  Beside requests go those that were in the folder before, are
deleted in the bucket those that were deleted while it did not answer, and the folder gives up what was not read lately.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import NamedTuple

from localops import config, host
from localops.encoding.openmetrics import Family, gauge
from localops.journal import blobs
from localops.reading import mirrored
from localops.server import logs, presence
from localops.server.bucket import DamagedFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from localops.server.bucket import Bucket

    # Called with a project, how many of its files are done, and how many there are.
    Progress = Callable[[str, int, int], object]

BOUND = 4 << 30  # bytes of files that a project has in the folder as well
_TO = 0.8  # of the bound: copies are deleted until they use less
# Seconds between two runs.
_EVERY = 60.0


class FilesElsewhere:
    """The files of all projects of a data folder, in a bucket."""

    def __init__(self, folder: str, bucket: Bucket, *, bound: int = BOUND) -> None:
        self.bucket = bucket
        self._folder, self._bound = folder, bound
        self._projects: Callable[[], Iterable[str]] = list
        self._waiting: dict[str, int] = {}
        self._taken_over: set[str] = set()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        blobs.keep_elsewhere(folder, bucket)

    def begin(self, projects: Callable[[], Iterable[str]]) -> None:
        """Work from now on beside requests, in the projects that `projects` names."""
        self._projects = projects
        self._thread = threading.Thread(target=self._run, name="files", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the work."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        blobs.keep_elsewhere(self._folder, None)

    def families(self) -> list[Family]:
        """Return the metrics of the bucket."""
        about = "Files of rows that are not in the bucket yet, or are still to be deleted there."
        return [gauge("localops_hub_waiting_files", about, sum(self._waiting.values()))]

    def _run(self) -> None:
        is_failing = False
        while True:
            try:
                for project in self._projects():
                    self.work(project)
                is_failing = False
            except OSError as error:
                if not is_failing:
                    logs.trouble("bucket", f"files wait for it: {error}", status=503, repeated=0, request_id=None)
                is_failing = True
            if self._stop.wait(_EVERY):
                return

    def work(self, project: str) -> None:
        """Send and delete what waits, and give up copies beyond the bound; BucketError if the bucket cannot be used."""
        folder = config.project_folder(self._folder, project)
        waiting = self.unsent(folder)
        self._waiting[project] = len(waiting) + len(blobs.marked(folder, blobs.DOOMED))
        if not self._waiting[project] and project in self._taken_over:
            self._give_up(folder)
            return
        if project not in self._taken_over:
            self.bucket.take_over(folder)
            self._taken_over.add(project)
        for digest in waiting:
            if self._stop.is_set():
                return
            self.send(folder, digest)
        if blobs.finish_drops(folder):
            self.bucket.check()
        self._waiting[project] = len(self.unsent(folder)) + len(blobs.marked(folder, blobs.DOOMED))
        self._give_up(folder)

    def unsent(self, folder: str) -> list[str]:
        """Return the files of a project that are only in its folder."""
        there = blobs.marked(folder, blobs.NOTE)
        return sorted({os.path.basename(path) for path in blobs.stored(folder)} - there)

    def send(self, folder: str, digest: str) -> None:
        """Send a file of the folder to the bucket, unless it is damaged: senders are asked for it."""
        path = blobs.path_of(folder, digest)
        try:
            if not blobs.is_whole(path, digest):
                return
            self.bucket.put(folder, digest, path)
        except FileNotFoundError:
            return
        if not host.is_file(path):
            # Deleted in the meantime: remove it from the bucket, too.
            blobs.drop(folder, digest)
            blobs.finish_drops(folder)

    def _give_up(self, folder: str) -> None:
        """Delete copies in the folder beyond the bound, those that were read least lately."""
        copies = []
        for digest in blobs.marked(folder, blobs.NOTE):
            path = blobs.path_of(folder, digest)
            with suppress(FileNotFoundError):
                facts = os.stat(path)
                copies.append((facts.st_mtime, facts.st_size, path))
        whole = sum(size for _, size, _ in copies)
        if whole <= self._bound:
            return
        for _, size, path in sorted(copies):
            if whole <= _TO * self._bound:
                return
            with suppress(FileNotFoundError):
                os.unlink(path)
            whole -= size


class MovedFiles(NamedTuple):
    """The outcome for the files of a project."""

    project: str
    files: int
    lacking: list[str]  # that cannot be brought back


def to_bucket(files: FilesElsewhere, folder: str, progress: Progress) -> list[MovedFiles]:
    """Send every file of a data folder to a bucket; a hub may serve the folder meanwhile."""
    moved = []
    with presence.moving(folder):
        files.bucket.check()
        for project in config.projects(folder):
            place = config.project_folder(folder, project)
            unsent = files.unsent(place)
            for number, digest in enumerate(unsent):
                progress(project, number, len(unsent))
                files.send(place, digest)
            left = files.unsent(place)
            moved.append(MovedFiles(project, len(blobs.marked(place, blobs.NOTE)), left))
    return moved


def to_folder(files: FilesElsewhere, folder: str, progress: Progress) -> list[MovedFiles]:
    """Bring every file back from a bucket, and note that when none is lacking; no hub may serve the folder."""
    with presence.moving(folder), presence.absent(folder, "run this again"):
        files.bucket.check()
        places = [config.project_folder(folder, project) for project in config.projects(folder)]
        moved = [_brought_back(files, place, progress) for place in places]
        if not any(each.lacking for each in moved):
            for place in places:
                for digest in blobs.marked(place, blobs.NOTE):
                    os.unlink(blobs.path_of(place, digest) + blobs.NOTE)
            mirrored.forget_files(folder)
    return moved


def _brought_back(files: FilesElsewhere, folder: str, progress: Progress) -> MovedFiles:
    project = os.path.basename(folder)
    files.bucket.take_over(folder)
    digests = sorted(blobs.marked(folder, blobs.NOTE))
    lacking = []
    for number, digest in enumerate(digests):
        progress(project, number, len(digests))
        path = blobs.path_of(folder, digest)
        try:
            if not (host.is_file(path) and blobs.is_whole(path, digest)):
                files.bucket.fetch(folder, digest)
        except (FileNotFoundError, DamagedFile):
            lacking.append(digest)
    return MovedFiles(project, len(digests), lacking)
