"""The sessions of this process: start them, look up the current one, and keep their journals.

`api.py` holds the one client that most programs need; tests and tools may create another.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections import deque
from functools import partial

from localops import clock, host
from localops import config as settings
from localops.config import JOURNAL, Config
from localops.encoding import encode, facets
from localops.encoding.todays_rules import redactor
from localops.errors import ConfigError, NoSession, NotResumable
from localops.interruption import hold_if_programs, settle
from localops.journal import blobs, spill
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.output import say, say_once
from localops.reading import session_state, story
from localops.recording import events, process_exit
from localops.recording.context import here, scope
from localops.recording.recorder import Recorder
from localops.recording.session import Session
from localops.recording.writer import Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from localops.encoding.pricing import Prices
    from localops.errors import Uncertain
    from localops.recording.parent_session import ParentSession

# Imported now: while the interpreter shuts down, a row can still be spilled, but nothing can be imported.
spill.load_wire()

# Hardware and packages are written once a session has lasted this long, or at its end.
_DETAILS_AFTER_NS = 500_000_000
# One description of them is used for all sessions that begin within this time.
_DETAILS_HOLD_NS = 60_000_000_000


class Client:
    """Configuration, and the sessions opened with it."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        self.sessions: dict[bytes, Session] = {}
        self.latest: Session | None = None  # the newest of this process, open or ended
        self._journals: dict[tuple[str, str, float], Journal] = {}
        self._encoders: dict[tuple[object, ...], tuple[encode.Encoder, object]] = {}
        self._host_bodies: dict[encode.Encoder, tuple[int, str]] = {}
        self._keepers: dict[str, blobs.Keeper] = {}
        self._prices: dict[str, Prices] = {}
        self._agents: deque[tuple[str, str]] = deque()
        self._unattributed: dict[tuple[int, str], Session] = {}  # by process and project folder
        # By process and journal: the newest row when the last dead session was ended.
        self._ended_up_to: dict[tuple[int, str], int] = {}
        self._last_ended: Session | None = None
        self.is_over = False  # the process is ending, and its sessions have been ended
        self._late_session: Session | None = None  # gets what is recorded after that
        self._sigterm = process_exit.Terminated(self)
        self._parent: ParentSession | None = None

    @property
    def config(self) -> Config:
        """Return the default options for new sessions."""
        return self._config

    @config.setter
    def config(self, config: Config) -> None:
        self._config, self._environment = config, settings.in_environment()

    def _follow_environment(self) -> None:
        """Read the settings from the environment again if it has changed (tests change it) and no session is open."""
        if settings.in_environment() != self._environment and not self.open_sessions():
            self.config = self.config.but()

    # Looking up

    def open_sessions(self) -> list[Session]:
        """Return the sessions that are open in this process, newest first."""
        return [session for session in reversed(list(self.sessions.values())) if session.is_running]

    def current(self) -> Session | None:
        """Return the current session: that of the context, else the only one that is open."""
        session: Session | None = here()[0]
        if session is not None and session.is_unattributed:
            # The calling code is inside an operation whose session is not known.
            session = None
        if session is not None and session.is_running:
            return session
        # A session that was ended in another context may still be current in this one: prefer an open session.
        sessions = self.open_sessions()
        if not sessions or (self._parent is not None and sessions == [self._parent.session]):
            return self.inherited() or session
        return sessions[0] if len(sessions) == 1 else session

    def inherited(self) -> Session | None:
        """Return the parent's session, in a process that multiprocessing started."""
        if host.maker() is None:
            return None
        if self._parent is None:
            from localops.recording.parent_session import ParentSession

            self._parent = ParentSession(self._join_quietly)
        return self._parent.look(settings.home(self.config.home))

    def _join_quietly(self, folder: str, id: bytes) -> Session:
        """Join a session without making it the current one: `current` looks it up each time."""
        before = scope.get()
        try:
            return self._join(uuid.UUID(bytes=id), folder, None, None, self.config)
        finally:
            scope.set(before)

    def need(self, what: str) -> Session:
        """Return the current session, or raise NoSession with the reason and what to do."""
        session = self.current()
        if session is not None:
            return session
        if self._parent is not None and len(self._parent.open) > 1:
            raise NoSession(
                f"{what}: the process that started this one has {len(self._parent.open)} sessions open, and it is "
                "not known which one to use; pass its session_id to start_session(inherited_session_id=...)"
            )
        many = self.open_sessions()
        if many:
            ids = ", ".join(str(session.session_id)[:13] for session in many)
            raise NoSession(
                f"{what}: {len(many)} sessions are open ({ids}) and none is current here; "
                "call it on the session itself, or run this thread in its context with localops.carry()"
            )
        raise NoSession(f"{what}: no session is open; call localops.init() or localops.start_session() first")

    # Events that belong to no known session

    def place(self, what: str) -> Session:
        """Return the session to record into: the current one, else the unattributed one of this process.

        At the end of the process, when the sessions have been ended, it is the session that ended last.  A strict
        client raises NoSession instead.
        """
        try:
            return self.need(what)
        except NoSession as error:
            if self._late_session is not None:
                return self._late_session
            if self.config.strict:
                raise
            return self.unattributed(str(error))

    def is_ambiguous(self) -> bool:
        """Return whether several sessions are open, so that code outside of them cannot be attributed to one."""
        return len(self.open_sessions()) > 1 or (self._parent is not None and len(self._parent.open) > 1)

    def unattributed(self, why: str) -> Session:
        """Return this process's session for events whose session is unknown; start it when first needed."""
        open_sessions = self.open_sessions()
        if not open_sessions:
            self._follow_environment()
        config = open_sessions[0].config if open_sessions else self.config
        folder = config.folder()
        if not open_sessions and self._parent is not None and self._parent.open:
            folder = self._parent.open[0][0]
        say_once(
            f"unattributed, {len(open_sessions) > 1}",
            f"{why}. Until then such events are kept in the session {story.UNATTRIBUTED!r} of this process",
        )
        key = (os.getpid(), folder)
        return self._unattributed.get(key) or self._begin_unattributed(key, config)

    def _begin_unattributed(self, key: tuple[int, str], config: Config) -> Session:
        made = self._new_session(clock.new_id(), key[1], story.UNATTRIBUTED, config, owned=True)
        made.is_unattributed = True
        made.recorder.limit(None)
        session = self._unattributed.setdefault(key, made)
        if session is made:
            session.recorder.journal.sessions.add(session.recorder.session)
            marks = {"unattributed": 1, "tags": encode.dumps([story.UNATTRIBUTED]).decode()}
            session.recorder.join(begun=True, extra=marks)
            self._watch_for_the_end(session)
            if self.is_over:
                session.end_unasked("Indeterminate", session_state.LEFT_OPEN)
        return session

    def open_unattributed(self) -> list[Session]:
        """Return the unattributed sessions of this process that have not ended."""
        here = os.getpid()
        return [session for (pid, _), session in list(self._unattributed.items()) if pid == here and session.is_running]

    def expect_late(self, session: Session | None) -> None:
        """Note that the process is ending, and which session gets what is recorded from now on while none is open."""
        self.is_over, self._late_session = True, session
        for journal in list(self._journals.values()):
            journal.outlive_threads()

    def last_ended(self) -> Session | None:
        """Return the session that ended last in this process."""
        return self._last_ended

    def get(self, session_id: object) -> Session | None:
        """Return an open session by its id."""
        session = self.sessions.get(events.to_id(session_id))
        return session if session is not None and session.is_running else None

    # Starting

    def start(
        self,
        tags: Iterable[str] | str | None = None,
        inherited_session_id: uuid.UUID | str | None = None,
        *,
        name: str | None = None,
        config: Config | None = None,
        params: object = None,
        about: Sequence[str] = (),
    ) -> Session:
        """Start a session, or join one that another process has begun.

        A session starts even if what it can do without fails (a description of the machine, ending older sessions);
        what cannot be written yet is written later.
        """
        self._follow_environment()
        config = config.on(self.config) if config is not None else self.config
        folder = config.folder()
        if type(inherited_session_id) is str and inherited_session_id == "":
            say("inherited_session_id is empty: this is a session of its own")
        elif inherited_session_id is not None:
            session = self._join(inherited_session_id, folder, facets.together(tags, list(about)), name, config)
            session.recorder.facets.update((tag.partition("=")[0], tag) for tag in about)
            return session
        session = self._session(clock.new_id(), folder, _session_name(name, config), config, owned=True)
        session.recorder.facets.update((tag.partition("=")[0], tag) for tag in about)
        self._begin(session, facets.together(tags, list(about)), begun=True, params=params)
        return session

    def resume(
        self,
        folder: str,
        id: bytes,
        tags: Iterable[str] | str | None = None,
        *,
        config: Config | None = None,
        on_uncertain: Callable[[Uncertain], object] | None = None,
        incomplete: bool = False,
    ) -> Session:
        """Continue a session that has ended or whose processes have died; raise NotResumable if it cannot be."""
        # Imported here, as few programs resume.
        from localops.recording import once, resuming

        config = config.on(self.config) if config is not None else self.config
        known = self.sessions.get(id)
        if known is not None and known.is_running:
            raise NotResumable(f"session {known.session_id} is open in this process: end it before it is resumed")
        session = self._new_session(id, folder, None, config, owned=True)
        about = resuming.check(session.recorder, incomplete=incomplete)
        if config.budget_usd is None:
            session.recorder.limit_as_others()
        extra = {"resumed": 1, **about, **self._start_fields(session, tags)}
        try:
            resuming.rejoin(session.recorder, extra)
        except BaseException:
            session.details = None  # write nothing more into a session that another process continues
            session.recorder.journal.sessions.discard(id)
            raise
        self.sessions[id] = session
        self._make_current(session)
        try:
            recorded = resuming.recorded(session.recorder)
        except BaseException:
            session.leave()
            raise
        session.recorder.steps.append(once.Steps(session.recorder, recorded, on_uncertain))
        return session

    def _join(
        self, given: object, folder: str, tags: Iterable[str] | str | None, name: str | None, config: Config
    ) -> Session:
        if not events.is_uuid(given):
            text = events.describe(given)[:200]
            say(f"inherited_session_id={text!r} is not a UUID; every process with this text joins the same session")
        id = events.to_id(given)
        known = self.sessions.get(id)
        if known is not None and known.is_running:
            return self._join_again(known, tags)
        known_folder = self._find(id, folder)
        if known_folder is None:
            # It may have begun on another machine: it has no name here yet.
            name = _session_name(name, config)
        owned = self._has_ended(id, known_folder)
        made = self._session(id, known_folder or folder, name, config, owned=owned)
        session = self.sessions.get(id, made)
        if session is not made:
            # Another thread has joined it meanwhile.
            return self._join_again(session, tags)
        if known_folder is not None and config.budget_usd is None:
            session.recorder.limit_as_others()
        self._begin(session, tags, begun=False)
        return session

    def _join_again(self, session: Session, tags: Iterable[str] | str | None) -> Session:
        """Join a session that is open in this process."""
        if tags:
            session.add_tags(tags)
        self._enter(session)
        return session

    def _has_ended(self, id: bytes, folder: str | None) -> bool:
        """Return whether a session to be joined has ended: then it has no owner, and this process becomes its owner."""
        if folder is None:
            return False
        try:
            with Reader(os.path.join(folder, JOURNAL)) as reader:
                return session_state.standing(reader, folder, id).ended_ns is not None
        except Exception as error:
            # The edge: a journal that cannot be read must not prevent recording.
            if not hold_if_programs(error):
                say(f"the state of the session cannot be read: {error}")
            return False

    def _find(self, id: bytes, folder: str) -> str | None:
        """Return the project folder that has the session; `folder` is searched first, then the others of the home."""
        home = os.path.dirname(folder)
        others = [os.path.join(home, name) for name in settings.projects(home)]
        for candidate in [folder, *(other for other in others if other != folder)]:
            try:
                with Reader(os.path.join(candidate, JOURNAL)) as reader:
                    known = reader.one("known_session", session=id)
            except Exception as error:
                # The edge: we cannot join a session of a journal that cannot be read.
                hold_if_programs(error)
                continue
            if known and known[0]:
                return candidate
        return None

    def _session(self, id: bytes, folder: str, name: str | None, config: Config, *, owned: bool) -> Session:
        session = self._new_session(id, folder, name, config, owned=owned)
        if not self.sessions.setdefault(id, session).is_running:  # replace one that has ended
            self.sessions[id] = session
        return session

    def _new_session(self, id: bytes, folder: str, name: str | None, config: Config, *, owned: bool) -> Session:
        journal = self._journal(folder, config)
        encoder = self._encoder(folder, config)
        home = os.path.dirname(folder)
        clean = encoder.text(name, 256) if name is not None else None
        recorder = Recorder(
            id,
            journal,
            Writer(id, folder, encoder, lambda: self._price_table(home)),
            config,
            name=clean,
            owned=owned,
            cut=self._keeper(folder).failed,
        )
        recorder.limit(config.budget_usd)
        if config.on_loop is not None:
            recorder.watch_loops()
        return Session(recorder, config, self._forget)

    def _begin(self, session: Session, tags: Iterable[str] | str | None, *, begun: bool, params: object = None) -> None:
        """Write the first row, and prepare for the end of the process."""
        extra = self._start_fields(session, tags, params)
        session.recorder.join(begun=begun, extra=extra)
        self._make_current(session)

    def _start_fields(
        self, session: Session, tags: Iterable[str] | str | None, params: object = None
    ) -> dict[str, object]:
        """Return the fields of the row with which this process begins or joins a session, and plan the host row."""
        config, recorder = session.config, session.recorder
        wanted = recorder.writer.tag_list([*config.default_tags, *recorder.writer.tag_list(tags)])
        details: dict[str, object] = {"host_env": _attempt("its machine", host.basics, config.env_data_opt_out)}
        if wanted:
            details["tags"] = encode.dumps(wanted).decode()
        if params is not None:
            details["params"] = params
        if config.budget_usd is not None:
            details["budget_usd"] = config.budget_usd
        recorder.journal.sessions.add(recorder.session)
        self._plan_details(session)
        return details

    def _make_current(self, session: Session) -> None:
        """Make a session the current one, and prepare for the end of the process."""
        self.latest = session
        self._enter(session)
        self._create_waiting_agents(session)
        _attempt("its end", self._watch_for_the_end, session)
        self._end_dead_sessions(session.recorder.journal)

    def _watch_for_the_end(self, session: Session) -> None:
        process_exit.install(self)
        if "IPython" in sys.modules:
            from localops.recording import notebook

            notebook.watch()
        if session.config.signals and session.owned():
            self._sigterm.watch()

    def _plan_details(self, session: Session) -> None:
        """Schedule the row of hardware and packages: with the first row after half a second, or at the end."""
        if session.config.env_data_opt_out:
            return
        session.details = partial(self._describe_host, session.recorder.writer.encoder)

        def chore() -> bool:
            if session.details is None or not session.is_running:
                return False
            if clock.now_ns() - session.began_ns < _DETAILS_AFTER_NS:
                return True
            session.tell_host()
            return False

        session.recorder.journal.chores.append(chore)

    def _describe_host(self, encoder: encode.Encoder) -> str:
        """Return hardware and packages as the body of a row, without secrets; cached for a minute."""
        known = self._host_bodies.get(encoder)
        if known is not None and clock.now_ns() - known[0] < _DETAILS_HOLD_NS:
            return known[1]
        details = host.details()
        packages: dict[str, object] = {
            name: details.pop(name) for name in ("SDK", "Installed Packages") if name in details
        }
        body = encoder.encode_beside("host_env", packages, details)
        self._host_bodies[encoder] = clock.now_ns(), body
        return body

    def _end_dead_sessions(self, journal: Journal) -> None:
        try:
            key = (os.getpid(), journal.path)
            others, newest = session_state.others_open_since(journal, self._ended_up_to.get(key, 0))
            self._ended_up_to[key] = 0 if others else newest
            # Usually all of them have ended. A row that waits in a spill file may be an end.
            if others and not spill.waiting(journal.folder):
                session_state.derive(journal)
        except Exception as error:
            # The edge: a problem with an older session must not keep this one from starting.
            if not hold_if_programs(error):
                say(f"older sessions could not be looked at: {error}")

    def _enter(self, session: Session) -> None:
        """Make a session the current one, inside the parent process's operation if the environment names it."""
        parent = None
        given = os.environ.get("LOCALOPS_SESSION_ID")
        if given and given == str(session.session_id):
            text = os.environ.get("LOCALOPS_PARENT")
            parent = events.to_id(text) if text else None
        if scope.get()[0] is not session:
            scope.set((session, parent, None))

    def _forget(self, session: Session) -> None:
        if session.is_unattributed:
            return
        self._last_ended = session
        id = session.recorder.session
        if self.sessions.get(id) is session:
            self.sessions.pop(id, None)
        sessions = [*self.sessions.values(), *self.open_unattributed()]  # a copy: threads begin and end sessions
        if not any(other.owned() for other in sessions):
            self._sigterm.release()

    def later_agent(self, name: str, agent_id: str) -> None:
        """Keep an agent that was created before any session, to create it in the next one."""
        self._agents.append((name, agent_id))

    def _create_waiting_agents(self, session: Session) -> None:
        """Create the agents that were waiting for a session, each in one session only."""
        while self._agents:
            try:
                name, agent_id = self._agents.popleft()
            except IndexError:
                # Another thread began a session and took the last one.
                return
            session.add_agent(name, agent_id)

    # Shared by sessions.  Each cache is filled by `setdefault`, so that concurrent threads get the same object.

    def _journal(self, folder: str, config: Config) -> Journal:
        key = (folder, config.durability, config.wait)
        known = self._journals.get(key)
        if known is not None:
            return known
        made = Journal(folder, durability=config.durability, wait=config.wait)
        if self.is_over:
            made.outlive_threads()
        kept = self._journals.setdefault(key, made)
        if kept is not made:
            made.close()
        return kept

    def _encoder(self, folder: str, config: Config) -> encode.Encoder:
        key = (folder, config.api_key, config.max_value, id(config.redact), config.patterns)
        known = self._encoders.get(key)
        if known is None:
            cleaner = redactor(config)
            encoder = encode.Encoder(redactor=cleaner, max_value=config.max_value, keep=self._keeper(folder))
            # The setting is kept alive, so that its id is not reused for another object.
            known = self._encoders.setdefault(key, (encoder, config.redact))
            if cleaner is not None and known[0] is encoder:
                # A program may change a secret of its environment while it runs.
                self._journal(folder, config).chores.append(cleaner.look_again)
        return known[0]

    def _keeper(self, folder: str) -> blobs.Keeper:
        return self._keepers.get(folder) or self._keepers.setdefault(folder, blobs.Keeper(folder))

    def _price_table(self, home: str) -> Prices:
        known = self._prices.get(home)
        if known is None:
            try:
                known = settings.prices(home)
            except ConfigError as error:
                from localops.encoding.pricing import Prices

                settings.leave_out(str(error), "the prices in config.toml are")
                known = Prices(imported=settings.price_table(home))
            known = self._prices.setdefault(home, known)
        return known

    def retire(self) -> None:
        """Close this client, as another one replaces it in this process."""
        process_exit.uninstall(self)
        self._sigterm.release()
        self.close()

    def close(self) -> None:
        """Close all journals."""
        for key in list(self._journals):
            journal = self._journals.pop(key, None)
            if journal is not None:
                journal.close()

    def account(self) -> None:
        """Warn of lost rows and store their number, at an exit that closes no journal."""
        for journal in list(self._journals.values()):
            journal.losses.account()


def _attempt(what: str, step: Callable[..., Any], *arguments: object) -> Any:
    """Call a step that a session can start without; warn if it fails."""
    try:
        return step(*arguments)
    except Exception as error:
        failure = error
    try:
        return settle(failure, partial(step, *arguments))
    except Exception as error:
        # The edge: recording never breaks the program that is recorded.
        say_once(f"start {what}", f"a session starts, but {what} could not be looked at: {error}")
        return None


def _session_name(name: str | None, config: Config) -> str:
    """Return the name of a session: the given one (which may be any value), else a default."""
    given = name if events.is_given(name) else None
    return given if given is not None else config.trace_name or script_name()


def script_name() -> str:
    """Return the default name of a session: the script, module or notebook that is running."""
    path = sys.argv[0] if sys.argv and sys.argv[0] not in ("", "-", "-c", "-m") else ""
    folder, name = os.path.split(path)
    if name == "__main__.py":  # `python -m package`, or a folder or archive that is run
        name = os.path.basename(folder)
    elif name == "ipykernel_launcher.py":
        name = os.path.basename(os.environ.get("JPY_SESSION_NAME", "")) or "notebook"
    return name or "python"
