"""The errors of localops; their messages say what happened, and what to do.

LocalopsError
├── ConfigError        an option, a name or a setting that cannot be used
│   └── UnusableBudget     a limit that cannot be read, which must not become no limit
├── NoSession          no session is open to record into, or it is not clear which
├── UnknownEndState    a session has no such end state
├── LimitReached       a limit that the program set for its session, which stops it
│   ├── BudgetExceeded     the session has spent its budget
│   └── LoopDetected       tool calls repeat; for a hook `on_loop` to raise
├── NotResumable       a session cannot be continued here and now
├── StepError          a step cannot be run once as it is written
├── Uncertain          a step may have happened before its run was killed, or its result is not here
├── NotFound           no session, event, project or topic has that id
├── Ambiguous          more than one has that prefix
├── InUse              another process uses what only one can: try again when it has ended
├── QueryRefused       SQL that would write, or that read for too long
├── IncompleteInstallation  a file that belongs to localops was not installed with it
├── BundleError        rows from elsewhere that cannot be accepted as they are
└── JournalError       the journal cannot be used as it is
    ├── ForeignJournal     the file is not a localops journal; it is left alone
    ├── EmptyJournal       the file exists, and nothing has been recorded in it
    ├── NewerJournal       a newer release wrote it, and this one cannot use it
    └── DamagedJournal     the file is broken; `localops repair` saves what it holds

A class's docstring is its default message.  Recording raises none of these into an agent unless
`strict=True`; the exceptions are LimitReached and UnusableBudget, which exist to be raised, and those of
steps that run once: NotResumable, StepError and Uncertain, as to go on would repeat what must not be repeated.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class LocalopsError(Exception):
    """Something went wrong in localops."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__class__.__doc__)


class ConfigError(LocalopsError):
    """An option cannot be used as given."""


class UnusableBudget(ConfigError):
    """The session's budget cannot be read."""


class NoSession(LocalopsError):
    """There is no session to record into: call localops.init() or localops.start_session() first."""


class UnknownEndState(LocalopsError):
    """A session ends as Success, Failure or Indeterminate; it stays open until it is ended with one of these."""


class LimitReached(LocalopsError):
    """A limit of the session is reached."""


class BudgetExceeded(LimitReached):
    """The session has spent its budget."""


class LoopDetected(LimitReached):
    """The same tool calls come again and again; a hook `on_loop` raises it to stop the program."""


class NotResumable(LocalopsError):
    """The session cannot be continued here and now."""


class StepError(LocalopsError):
    """A step that runs once cannot be run as it is written."""


class Uncertain(LocalopsError):
    """A step may or may not have happened before its run ended.

    It did not run again.  Find out what became of it, and say so with `on_uncertain=`; or mark its function
    `idempotent=True` if it may run twice.
    """

    def __init__(
        self,
        message: str | None = None,
        *,
        name: str = "",
        kind: str = "",
        params: Any = None,
        began: str | None = None,
        ended_by: str | None = None,
        process: dict[str, Any] | None = None,
        happened: bool | None = None,
        number: int = 1,
        event_id: str = "",
    ) -> None:
        super().__init__(message)
        self.name = name
        """The name of the step."""
        self.kind = kind
        """Its kind: tool, operation, and so on."""
        self.params = params
        """Its arguments as they were recorded, so without secrets."""
        self.began = began
        """When it began."""
        self.ended_by = ended_by
        """The class of the exception that interrupted it; None if its process died in it."""
        self.process = process
        """The pid and the host of the process that it ran in; None if that is not known."""
        self.happened = happened
        """True if it is known to be done and only its result is not here; None if that is not known."""
        self.number = number
        """Of the calls with these arguments, the first, the second, and so on."""
        self.event_id = event_id
        """The id of its row in the journal."""


class NotFound(LocalopsError):
    """Nothing has that id: `localops sessions` lists the sessions."""


class Ambiguous(LocalopsError):
    """More than one id begins like that: give more of its digits."""


class QueryRefused(LocalopsError):
    """The journal is only read here: one SELECT at a time, and within the time limit."""


class InUse(LocalopsError):
    """Another process uses it: wait for its end."""


class IncompleteInstallation(LocalopsError):
    """A file that belongs to localops is missing."""

    def __init__(self, path: str, error: Exception) -> None:
        why = error.strerror if isinstance(error, OSError) else error
        super().__init__(
            f"localops is not installed completely: {path} cannot be read ({why}). Install it again; in a program "
            "packed by PyInstaller, pack it with localops installed, or with --collect-data localops"
        )


class BundleError(LocalopsError):
    """The rows cannot be accepted as they are: have them sent again."""


class JournalError(LocalopsError):
    """The journal cannot be used: `localops doctor` says why."""


class ForeignJournal(JournalError):
    """The file is not a localops journal and was left alone. Choose another home or project."""


class EmptyJournal(JournalError):
    """The file is empty: the next program that records begins the journal."""


class NewerJournal(JournalError):
    """A newer localops wrote this journal and asks older ones not to write to it: upgrade localops."""


class DamagedJournal(JournalError):
    """The journal is damaged: `localops repair` saves what it still holds."""
