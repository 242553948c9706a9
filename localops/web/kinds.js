// The kinds of events: which have a colour of their own, and how a kind is written.

export const KINDS = ["llm", "tool", "agent", "action", "error"];

/** Return a kind as people write it. */
export const kindText = (kind) => (kind === "llm" ? "LLM" : kind);

/** Return the class of the colour of a kind; empty for kinds that share one. */
export const kindClass = (kind) => (KINDS.includes(kind) ? kind : "");
