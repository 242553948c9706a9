"""The pages of the documentation, by what a reader wants to do: `localops help` and the README list them so."""

from __future__ import annotations

TOPICS = {
    "Record": {
        "llm-calls": "record the calls of openai, anthropic, LangChain and other libraries",
        "quickstart": "record your own events and look at them, in five minutes",
        "frameworks": "each framework and client: a program, and what is recorded of it",
        "recording": "the API by task: sessions, events, decorators, agents, threads, processes, costs, budgets",
        "servers": "FastAPI, Flask, gunicorn, Celery, pytest: a session for each request",
        "jupyter": "sessions in notebooks: how they show themselves, and the errors of cells",
        "coding-agents": "runs of Claude Code and Codex, from their hooks and their transcripts",
        "opentelemetry": "spans of OpenTelemetry, and of its instrumentors, recorded as they happen",
        "resume": "continue a run that was killed, without doing again what is done",
    },
    "Look at runs": {
        "dashboard": "every run in a browser, and the keyboard shortcuts of its pages",
        "runs": "recorded runs in Python: why one failed, its loops, what differs, exports",
        "why": "why a run failed: `localops why`",
        "compare": "what runs do differently, and rules for CI: `localops diff`, `localops check`",
        "loops": "tool calls that repeat, and what they wasted: `localops lint`, and an alarm while it runs",
        "scores": "judge runs: by hand, in the program, by code",
        "testing": "the pytest fixture `localops_run`: assertions on what an agent did and cost",
        "mcp": "recorded runs as read-only tools of Claude Code, Codex and other agents",
        "formats": "runs as files of other tools: trajectories, training data, traces, tables, transcripts",
        "recipes": "CI, offline installation, clusters, other tools, your own prices",
    },
    "Send them": {
        "sync": "remotes, cron, exit codes, bad networks",
        "carry": "rows in a file, and receipts on the way back",
        "otlp": "what is sent to OpenTelemetry back ends",
        "agentops-sync": "what is sent to AgentOps",
    },
    "Run a hub": {
        "hub": "a server of your own that many machines send to",
        "hub-keys": "its keys and limits, and who did what there",
        "hub-operations": "its metrics, health and logs",
        "hub-proxy": "nginx or Caddy in front of it",
        "hub-upgrade": "a new release of the hub and of its senders: order, what works with what, the way back",
        "hub-agentops": "programs with an unchanged `agentops` that send to it",
        "hub-otlp": "spans and log records of any OpenTelemetry program, sent to it",
        "hub-clickhouse": "its rows in ClickHouse, where one machine is not enough",
        "hub-files": "its files of long values, pictures and films in an S3-compatible bucket",
    },
    "Rely on it": {
        "durability": "what survives what",
        "privacy": "what is recorded, who can read it, and how secrets are kept out",
        "scrub": "find and remove secrets that were recorded, here and on hubs",
        "benchmarks": "measurements",
        "design": "what was chosen, and what was not",
    },
    "Look things up": {
        "cli": "every command and option, and what scripts may rely on",
        "configuration": "every setting, and the home",
        "journal": "the SQLite file: tables, views, formats",
        "differences": "differences from AgentOps",
        "agentops-names": "each module and name of AgentOps, and what it does here",
    },
}
