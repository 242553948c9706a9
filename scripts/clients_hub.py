"""Drives the released AgentOps clients against a hub, and compares what they send with what the hub stores.

A proxy between the two notes every request.  `scripts/clients --hub` runs it.
"""

from __future__ import annotations

import http.client
import http.server
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from localops.otlp import protobuf
from tests.server.hubs import RealHub

if TYPE_CHECKING:
    from collections.abc import Callable

TOP = Path(__file__).resolve().parent.parent
PAGE = TOP / "localops" / "docs" / "hub-agentops.md"
# The last OpenTelemetry that agentops 0.4.21 can export with.
OTEL = ("opentelemetry-sdk<1.45", "opentelemetry-exporter-otlp-proto-http<1.45")
PACKAGES = {
    "0.3.26": ("agentops==0.3.26",),
    "0.3.18": ("agentops==0.3.18",),
    "0.4.21": ("agentops==0.4.21", *OTEL),
}
_SHORT = {
    "/v2/create_session": "CS",
    "/v2/update_session": "US",
    "/v2/create_events": "CE",
    "/v2/create_agent": "CA",
    "/v3/auth/token": "AT",
    "/v1/traces": "TR",
    "/v4/logs/upload/": "LU",
}
_STATES = {"Fail": "Failure", None: "Unknown"}


class Case(NamedTuple):
    """A program, and how it is ended if it does not end by itself."""

    code: str
    signal: int | None = None
    after: float = 0.0  # seconds from its line `ready` to the signal
    states: tuple[str, ...] | None = None  # of its sessions; by default those that it sent
    environ: tuple[tuple[str, str], ...] = ()


_OLD = """
import asyncio, os, sys, time, agentops
from agentops import ActionEvent, ErrorEvent, LLMEvent, ToolEvent
def act(to=agentops, name="step", **more): to.record(ActionEvent(action_type=name, **more))
def call(to=agentops): to.record(LLMEvent(prompt="why", completion="so", model="gpt-4o", prompt_tokens=9,
    completion_tokens=9))
def ready(): print("ready", flush=True)
"""
_NO_AUTO = "agentops.init(auto_start_session=False)\ns = agentops.start_session(tags=['a'])\n"
_ENDS = "agentops.end_session('Success')"
OLD_CASES = {
    "seed_analytics": Case(
        _NO_AUTO + "s.record(ActionEvent('action'))\ncall(s)\ns.record(ToolEvent(name='t'))\n"
        "print(getattr(s, 'get_analytics', dict)())\ns.end_session('Success')"
    ),
    "auto_session": Case(f"agentops.init()\nact()\n{_ENDS}"),
    "manual_session": Case(_NO_AUTO + "act(s)\ns.end_session('Success', 'done')\ns.end_session('Fail')\nact(s)"),
    "all_events": Case(
        _NO_AUTO + "t = ToolEvent(name='t', params={'q': 1}, returns=[1], logs={'a': 1})\n"
        "act(s, params={'a': object(), 'b': b'x'}, returns=('x',), screenshot='https://x/y.png')\n"
        "call(s)\ns.record(LLMEvent(prompt=[{'role': 'user', 'content': 'hi'}], completion={'content': 'x'}))\n"
        "s.record(t)\ns.record(ErrorEvent(exception=ValueError('no'), trigger_event=t))\n"
        "s.record(agentops.Event('apis', params={'u': 1}))\ns.end_session('Success')"
    ),
    "big (NaN, surrogates, 1 MB)": Case(
        _NO_AUTO + "act(s, params={'a': float('nan'), 'b': float('inf'), 'c': '\\ud800', 'd': 'x' * 1_000_000})\n"
        "s.end_session('Success')"
    ),
    "decorators": Case(
        _NO_AUTO + "@agentops.track_agent(name='planner')\nclass A:\n"
        "    @agentops.record_action('plan')\n    def plan(self): return 1\n"
        "    @agentops.record_tool('tool')\n    async def tool(self): return 2\n"
        "    @agentops.record_action('bad')\n    def bad(self): 1 / 0\n"
        "a = A()\na.plan()\nasyncio.run(a.tool())\ntry: a.bad()\nexcept ZeroDivisionError: pass\n"
        "s.end_session('Success')"
    ),
    "async_gather": Case(
        _NO_AUTO + "@agentops.record_action('work')\nasync def work(n): await asyncio.sleep(n / 10)\n"
        "async def all(): await asyncio.gather(*map(work, range(3)))\nasyncio.run(all())\ns.end_session('Success')"
    ),
    "tags": Case(
        _NO_AUTO + "s.add_tags(['b', 'a'])\ns.add_tags('c')\ns.set_tags(['d', 'e'])\ns.add_tags(['f'])\n"
        "s.end_session('Success')"
    ),
    "end_states": Case(
        "agentops.init(auto_start_session=False)\n"
        "for state in ('Success', 'Fail', 'Indeterminate', 'Failure', 'bogus'):\n"
        "    s = agentops.start_session()\n    s.end_session(state, 'why')"
    ),
    "opt_out": Case(_NO_AUTO + "s.end_session('Success')", environ=(("AGENTOPS_ENV_DATA_OPT_OUT", "true"),)),
    "no_end": Case("agentops.init()\nact()", states=("Unknown",)),
    "uncaught": Case("agentops.init()\nact()\nraise RuntimeError('it broke')"),
    "sigint": Case("agentops.init()\nact()\nready()\ntime.sleep(60)", signal.SIGINT),
    "sigterm": Case("agentops.init()\nact()\nready()\ntime.sleep(60)", signal.SIGTERM),
    "sigkill_at_once": Case("agentops.init()\nact()\nready()\ntime.sleep(60)", signal.SIGKILL, states=("Unknown",)),
    "sigkill_after_7s": Case("agentops.init()\nact()\nready()\ntime.sleep(60)", signal.SIGKILL, 7, ("Unknown",)),
    "inherited": Case(
        "import subprocess\nif len(sys.argv) > 1:\n    agentops.init(inherited_session_id=sys.argv[1])\n    act()\n"
        f"    {_ENDS}\nelse:\n    agentops.init(auto_start_session=False)\n    s = agentops.start_session(tags=['a'])\n"
        "    act(s)\n    subprocess.run([sys.executable, '-c', SOURCE, str(s.session_id)])\n    act(s)\n"
        "    s.end_session('Fail', 'the parent failed')",
        states=("Failure",),
    ),
    "two_sessions": Case(
        "agentops.init(auto_start_session=False)\na, b = agentops.start_session(tags=['x']), agentops.start_session()\n"
        "act(a)\nact(b)\nact(b)\nact()\na.end_session('Success')\nb.end_session('Fail')"
    ),
    "keys (none)": Case("print(agentops.init())\nact()", environ=(("AGENTOPS_API_KEY", ""),), states=()),
    "1,000 events": Case(_NO_AUTO + "for n in range(1000): act(s, params={'n': n})\ns.end_session('Success')"),
}
_NEW = """
import asyncio, os, sys, time, agentops
from agentops.sdk.decorators import agent, operation, task, tool, trace, workflow
def ready(): print("ready", flush=True)
def init(wait=3, **more):
    agentops.init(**more)
    time.sleep(wait)  # what is sent before the token has come has no key, and is refused
@operation
def work(n): return n
"""
NEW_CASES = {
    "auto_session": Case("init()\nwork(1)\nprint('hello')\nagentops.end_session('Success')"),
    "no_end": Case("init()\nwork(1)"),
    "uncaught": Case("init()\nwork(1)\nraise RuntimeError('it broke')"),
    "traces": Case(
        "init(auto_start_session=False)\nfor state in ('Success', 'Fail', 'Indeterminate'):\n"
        "    t = agentops.start_trace('run', tags=['a', 'b'])\n    work(1)\n    agentops.end_trace(t, state)"
    ),
    "trace decorator": Case(
        "init(auto_start_session=False)\n@trace(name='good')\ndef good(): return work(1)\ngood()\n"
        "@trace(name='bad')\ndef bad():\n    work(2)\n    1 / 0\ntry: bad()\nexcept ZeroDivisionError: pass"
    ),
    "nested": Case(
        "init(auto_start_session=False)\n@tool(cost=0.01)\ndef search(q): return [q]\n"
        "@agent(name='planner')\nclass Planner:\n    @workflow\n    def run(self): return [search('x'), self.step()]\n"
        "    @task\n    def step(self): return work(1)\n"
        "t = agentops.start_trace('run')\nPlanner().run()\nagentops.end_trace(t, 'Success')"
    ),
    "1,000 spans": Case("init()\nfor n in range(1000): work(n)\nagentops.end_session('Success')"),
    "sigterm": Case("init()\nwork(1)\nready()\ntime.sleep(60)", signal.SIGTERM, 3),
    "sigkill_after_3s": Case("init()\nwork(1)\nready()\ntime.sleep(60)", signal.SIGKILL, 3),
    "token not there yet": Case("init(wait=0)\nwork(1)\nagentops.end_session('Success')", states=()),
    "keys (none)": Case("init()\nwork(1)", environ=(("AGENTOPS_API_KEY", ""),), states=()),
}
# With 512 events in its queue 0.3.18 waits for itself for ever.
_MANY = "1,000 events"
EARLIER_CASES = {name: case for name, case in OLD_CASES.items() if name != _MANY}
EARLIER_CASES["400 events"] = Case(OLD_CASES[_MANY].code.replace("1000", "400"))
CASES = {"0.3.26": (_OLD, OLD_CASES), "0.3.18": (_OLD, EARLIER_CASES), "0.4.21": (_NEW, NEW_CASES)}


class Request(NamedTuple):
    """A request that the hub answered."""

    path: str
    headers: dict[str, str]
    body: bytes
    status: int
    reply: bytes


class Proxy:
    """Passes requests on to a hub, and notes them."""

    def __init__(self, to: RealHub) -> None:
        self.requests: list[Request] = []
        noted, host = self.requests, to.url.removeprefix("http://")

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                onward = http.client.HTTPConnection(host, timeout=60)
                onward.request("POST", self.path, body, dict(self.headers))
                reply = onward.getresponse()
                text = reply.read()
                noted.append(Request(self.path, dict(self.headers), body, reply.status, text))
                onward.close()
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.headers.get("Content-Type", "application/json"))
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


class Sent(NamedTuple):
    """What a client sent of one session."""

    events: set[str]
    tags: list[str]
    state: str


def run(python: Path, case: Case, setup: str, url: str, key: str, folder: str) -> str:
    """Run the program of a case, and return what it printed."""
    source = setup + case.code
    env = {
        "PATH": os.environ["PATH"],
        "HOME": folder,
        "AGENTOPS_API_KEY": key,
        "AGENTOPS_API_ENDPOINT": url,
        "AGENTOPS_EXPORTER_ENDPOINT": f"{url}/v1/traces",
        # Clients ask the package index for a newer release, which need not be within reach.
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1",
        **dict(case.environ),
    }
    command = [str(python), "-c", f"SOURCE = {source!r}\nexec(SOURCE)"]
    process = subprocess.Popen(
        command, env=env, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    printed = ""
    if case.signal is not None:
        for line in process.stdout:
            printed += line
            if line.strip() == "ready":
                break
        time.sleep(case.after)
        process.send_signal(case.signal)
    try:
        return f"{printed}{process.communicate(timeout=180)[0]}"
    except subprocess.TimeoutExpired:
        process.kill()
        return f"{printed}{process.communicate()[0]}\nit did not end"


def sent_by_sessions(requests: list[Request]) -> dict[str, Sent]:
    """Return what was sent of each session: its events, and the tags and the end of the process that began it."""
    began: dict[str, Any] = {}
    session_of: dict[str, str] = {}  # by token
    sent: dict[str, Sent] = {}
    for request in requests:
        if not request.path.startswith("/v2/"):
            continue
        document = json.loads(request.body)
        if request.path == "/v2/create_session" and request.status == 200:
            session_of[json.loads(request.reply)["jwt"]] = document["session"]["session_id"]
        if request.path == "/v2/create_events":
            session = session_of[request.headers["Authorization"].removeprefix("Bearer ")]
            # 0.3.18 sends errors without an id.
            sent[session].events.update(
                event.get("id") or json.dumps(event, sort_keys=True) for event in document["events"]
            )
        elif "session" in document:
            facts = document["session"]
            session = facts["session_id"]
            first = began.setdefault(session, facts["init_timestamp"])
            known = sent.get(session) or Sent(set(), [], "Unknown")
            if facts["init_timestamp"] == first:
                ended = facts["end_timestamp"] and (facts.get("is_running") is False or "stop_flag" in facts)
                state = _STATES.get(facts["end_state"], facts["end_state"]) if ended else known.state
                known = Sent(known.events, facts["tags"], state)
            sent[session] = known
    return sent


def spans_by_traces(requests: list[Request]) -> dict[str, Sent]:
    """Return the spans and the log that were sent of each trace, with the tags and the end of its root."""
    sent: dict[str, Sent] = {}
    for request in requests:
        if request.path == "/v4/logs/upload/" and request.status == 200:
            trace = str(uuid.UUID(int=int(request.headers["Trace-Id"])))
            sent.setdefault(trace, Sent(set(), [], "Unknown")).events.add("log")
        if request.path != "/v1/traces" or request.status != 200:
            continue
        for span in protobuf.spans(protobuf.parsed(request.body), print):
            trace = str(uuid.UUID(bytes=span.trace))
            known = sent.setdefault(trace, Sent(set(), [], "Unknown"))
            # An agent is no event.
            if span.attributes.get("agentops.span.kind") != "agent":
                known.events.add(span.id.hex())
            if span.is_root:
                state = span.attributes.get("agentops.session.end_state")
                tags = span.attributes.get("agentops.tags") or []
                sent[trace] = Sent(known.events, list(tags), _STATES.get(state, state or "Unknown"))
    return sent


def stored_in(to: RealHub) -> dict[str, dict[str, Any]]:
    """Return the sessions of the hub by their ids."""
    status, reply = to.ask("GET", "/api/1/sessions?limit=100")
    assert status == 200, reply
    return {each["session_id"]: each for each in reply["sessions"]}


def compare_sessions(sent: dict[str, Sent], stored: dict[str, dict[str, Any]], case: Case) -> list[str]:
    """Return what differs."""
    problems = [f"session {id[:8]} is not there" for id in sent if id not in stored]
    for id, facts in stored.items():
        of = sent.get(id)
        if of is None:
            problems.append(f"session {id[:8]} was not sent")
            continue
        if facts["events"] != len(of.events):
            problems.append(f"{len(of.events)} events sent, {facts['events']} stored")
        if set(of.tags) != set(facts["tags"]):
            problems.append(f"tags {of.tags} sent, {facts['tags']} stored")
        if case.states is None and of.state != facts["state"]:
            problems.append(f"end {of.state} sent, {facts['state']} stored")
    if case.states is not None and sorted(case.states) != sorted(each["state"] for each in stored.values()):
        problems.append(f"states {[each['state'] for each in stored.values()]}, expected {list(case.states)}")
    return problems


def compare_traces(sent: dict[str, Sent], stored: dict[str, dict[str, Any]], case: Case) -> list[str]:
    """Return what differs; the root of a trace is its session."""
    problems = [f"trace {id[:8]} is not there" for id in sent if id not in stored]
    for id, facts in stored.items():
        of = sent.get(id)
        if of is not None and len(of.events) != facts["events"]:
            problems.append(f"{len(of.events)} spans and logs sent, {facts['events']} events stored")
        if of is not None and set(of.tags) - set(facts["tags"]):
            problems.append(f"tags {of.tags} sent, {facts['tags']} stored")
        if of is not None and of.state in ("Success", "Failure", "Indeterminate") and facts["state"] != of.state:
            problems.append(f"end {of.state} sent, {facts['state']} stored")
    if case.states == () and stored:
        problems.append("stored without a key")
    return problems


def described(requests: list[Request]) -> str:
    """Return requests in short: how many of each, in the order they began."""
    names = [_SHORT.get(request.path, request.path) for request in requests]
    counts = Counter(names)
    return " ".join(f"{name}×{many}" if many > 1 else name for name, many in counts.items())


def try_case(python: Path, release: str, name: str) -> list[str]:
    """Run one case, and return its line of the table."""
    setup, cases = CASES[release]
    case = cases[name]
    is_new = release.startswith("0.4")
    # A trace waits for its root, which a killed process never sends.
    limits = {"trace_wait": 2.0} if is_new else None
    with tempfile.TemporaryDirectory() as folder, RealHub(Path(folder) / "hub", limits=limits) as server:
        proxy = Proxy(server)
        work = Path(folder) / "work"
        work.mkdir()
        printed = run(python, case, setup, proxy.url, server.key, str(work))
        proxy.close()
        sent = (spans_by_traces if is_new else sent_by_sessions)(proxy.requests)
        stored = stored_in(server)
        for _ in range(40):
            if sent.keys() <= stored.keys():
                break
            time.sleep(0.25)
            stored = stored_in(server)
        problems = (compare_traces if is_new else compare_sessions)(sent, stored, case)
        expected_failures = (401,) if case.states == () else ()
        failed = Counter(each.status for each in proxy.requests if each.status not in (200, *expected_failures))
        problems += [f"{many} requests answered {status}" for status, many in failed.items()]
        events = sum(len(each.events) for each in sent.values())
        in_hub = sum(each["events"] for each in stored.values())
        states = ", ".join(sorted(each["state"] for each in stored.values())) or "–"
        cells = [name, described(proxy.requests) or "–", f"{len(sent)} / {events}", f"{len(stored)} / {in_hub}", states]
        print(f"{release:8}{name:30}{' | '.join(cells[1:]):60} {'; '.join(problems) or 'yes'}", flush=True)
        if problems:
            print("    " + printed.replace("\n", "\n    ")[-2500:])
        return [*cells, "; ".join(problems) or "yes"]


def main(releases: list[str], environment: Callable[[str], Path], *, table: bool) -> int:
    """Try the releases that were named, or all."""
    failed = 0
    for release in releases or CASES:
        python = environment(release)
        lines = [try_case(python, release, name) for name in CASES[release][1]]
        failed += sum(line[-1] != "yes" for line in lines)
        if table:
            _write(release, lines)
    return int(bool(failed))


def _write(release: str, lines: list[list[str]]) -> None:
    """Write the table of a release into the docs."""
    begin, end = f"<!-- made by scripts/clients --hub {release} -->", "<!-- end -->"
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    unit = "traces / spans" if release.startswith("0.4") else "sessions / events"
    head = ["case", "requests", f"sent: {unit}", "stored: sessions / events", "states", "equal"]
    table = "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *lines])
    PAGE.write_text(f"{before}{begin}\n\n{table}\n\n{end}{after}", encoding="utf-8")
