// Two sessions side by side: their figures, then their events in one tree, aligned by kind and name. Of three and more,
// any can be seen beside the first one.

import { ask, byId, data, kindSign, make, notice } from "./base.js";
import { change, costChange, marked } from "./changes.js";
import { FIGURES, MOST, letterOf, runs, summary } from "./compare_runs.js";
import { comparedEvents } from "./compared_rows.js";
import { fetchedMedia } from "./compared_texts.js";
import { event } from "./content.js";
import { duration, eventCost, many, money } from "./formats.js";
import { keepFocus, returnFocus } from "./kept_focus.js";
import { heads, line, table } from "./table.js";
import { stamp } from "./times.js";
import { url } from "./url.js";

// Characters of a line that are in sight, and those shown before a difference.
const IN_SIGHT = 32,
  BEFORE = 16;
// Up to this many runs, each pair has a button; with more, only the first run with each of the others.
const PAIRED = 3;
const place = byId("compare");
// Links to another look at the same runs.
const LINKS = ".bar a";
// The letter of the first of the two sessions side by side.
let own = "A";

/** Show the sessions of the address: two of them side by side, or three and more in one table. */
async function show() {
  place.replaceChildren(notice("Comparing …"));
  const params = new URLSearchParams(location.search);
  const named = [data.a, data.b, ...params.getAll("also")],
    all = [...new Set(named)],
    ids = all.slice(0, MOST);
  // A session keeps its letter, whichever two are compared.
  const [one, other] = ids.length === 2 ? [0, 1] : pairIn(ids, params);
  own = letterOf(one);
  const bar = make(
    "div",
    { class: "bar" },
    ids.length > 2 && views(ids, one, other),
    other > 0 &&
      one === 0 &&
      make("a", { class: "button", href: swapped(ids, other) }, `Swap A and ${letterOf(other)}`),
    make("a", { class: "button", href: url("compare") }, "Other runs"),
    all.length > MOST &&
      make("span", { class: "pending" }, `Only the first ${MOST} of ${all.length} runs are compared`),
    all.length < named.length && make("span", { class: "pending" }, "A run that was named twice is compared once"),
  );
  if (other < 1) return place.replaceChildren(bar, ...(await runs(ids)));
  const both = [ids[one], ids[other]];
  const [comparison, compared] = await Promise.all([
    ask("compare", { a: both[0], b: both[1] }),
    ask("compare/runs", { sessions: both.join(",") }),
  ]);
  const sides = [
    [comparison.a, own],
    [comparison.b, letterOf(other)],
  ];
  return place.replaceChildren(
    bar,
    summary(compared, (place) => (place ? letterOf(other) : own)),
    make("div", { class: "pair" }, cards(sides), figures(comparison, letterOf(other))),
    ...tree(comparison, letterOf(other)),
  );
}

/** Return the places of the two sessions that the address names, the first one beside a single one; `-1` of none. */
function pairIn(ids, params) {
  const [one, other] = params.getAll("with").map((id) => ids.indexOf(id));
  return other > 0 && one >= 0 ? [one, other] : [0, ids.indexOf(params.get("with"), 1)];
}

/** Return the address of two of the sessions, which have changed places. */
function swapped(ids, other) {
  const params = new URLSearchParams({ a: ids[other], b: data.a });
  const only = new URLSearchParams(location.search).get("only");
  if (only) params.set("only", only);
  ids.filter((_, at) => at && at !== other).forEach((id) => params.append("also", id));
  if (ids.length > 2) params.set("with", data.a);
  return url(`compare?${params}`);
}

/** Return links to all runs in one table, and to two of them side by side. */
function views(ids, one, other) {
  const to = (pair) => {
    const params = new URLSearchParams(location.search);
    params.delete("with");
    // The first one needs no name.
    for (const at of pair) if (at) params.append("with", ids[at]);
    return url(`compare?${params}`);
  };
  const view = (pair) => {
    const isCurrent = pair.length ? pair[0] === one && pair[1] === other : other < 1;
    return make(
      "a",
      {
        class: "button",
        href: to(pair),
        "aria-current": isCurrent ? "page" : null,
        // The filter of the events may have changed since.
        onclick: (click) => void (click.currentTarget.href = to(pair)),
      },
      pair.length ? pair.map(letterOf).join(" and ") : "All runs",
    );
  };
  const pairs = ids.flatMap((_, first) => ids.map((__, second) => [first, second]));
  const offered = pairs.filter(([first, second]) => first < second && (first === 0 || ids.length <= PAIRED));
  return make("nav", { class: "views", "aria-label": "Runs that are compared" }, [[], ...offered].map(view));
}

function cards(sides) {
  const head = ([one, letter]) =>
    make(
      "section",
      { class: "chart" },
      make("h2", {}, `${letter}: `, make("a", { href: url(`s/${one.session_id}`) }, one.name || "unnamed")),
      make(
        "p",
        { class: "meta" },
        make("span", { class: `state ${/^[A-Z][a-z]+$/.test(one.state) ? one.state : ""}` }, one.state),
        make("time", { datetime: one.began }, stamp(one.began)),
        make("span", {}, `project ${one.project}`),
        // Runs that are compared often have one name.
        make("code", { class: "faint", title: one.session_id }, one.session_id.slice(0, 13)),
        make(
          "span",
          { class: "tags" },
          one.tags.map((tag) => make("span", { class: "tag" }, tag)),
        ),
      ),
      one.reason ? make("p", { class: `reason ${one.state === "Failure" ? "Failure" : ""}` }, one.reason) : null,
    );
  return make("div", { class: "two" }, sides.map(head));
}

function figures({ a, b }, letter) {
  const rows = FIGURES.map(([label, value, text, isNeutral]) =>
    line(label, [
      text(value(a), a),
      text(value(b), b),
      label === "Cost" ? costChange(a, b) : change(value(a), value(b), text, isNeutral),
    ]),
  );
  return make(
    "section",
    { class: "chart sums" },
    make("h2", {}, "Figures"),
    table(heads(["Figure", own, letter, "Difference"]), rows),
  );
}

const differs = (line) => line.marks.length > 0 || isUnlike(line);
const OF_SPEED = new Set(["slower", "costlier"]);

// The mark of a prompt that differs only because earlier events differ.
const FOLLOWS = "follows";

/** Return whether a line differs in more than time, cost and the repeated part of its prompt. */
const isUnlike = (line) =>
  !line.a ||
  !line.b ||
  line.marks.some((mark) => !OF_SPEED.has(mark) && mark !== FOLLOWS) ||
  (line.input_differs && !line.marks.includes(FOLLOWS)) ||
  line.output_differs ||
  line.a.failed !== line.b.failed ||
  line.a.finished !== line.b.finished;

const signed = (nano) => `${nano < 0 ? "−" : "+"}${money(Math.abs(nano))}`;

/** Return by how much more a line cost in the second session, in nano-dollars; null if that is not known. */
function costOf(line) {
  const costs = [line.a, line.b].map((one) => {
    if (!one || one.billed === false || line.kind !== "llm") return one?.cost_nano || 0;
    return one.finished ? one.cost_nano : null;
  });
  return costs.includes(null) ? null : costs[1] - costs[0];
}

/** Return the events of two sessions; `letter` is that of the second one. */
function tree(comparison, letter) {
  const unlike = comparison.lines.filter(differs),
    minor = unlike.filter((line) => !isUnlike(line)).length;
  const costs = unlike.map(costOf);
  const sum = costs.reduce((total, one) => total + (one ?? 0), 0);
  const spent = costs.some((one) => one === null) ? `${signed(sum)} + ?` : sum ? signed(sum) : "";
  const butIds = comparison.counts.same_but_ids;
  const repeating = `took longer, cost more, or repeat${minor === 1 ? "s" : ""} earlier differences`;
  // The number of events that differ is in the sentence above.
  const also = [
    spent && `Difference in cost ${spent}`,
    minor && `${many(minor, minor < unlike.length ? "more event" : "event")} ${repeating}`,
    butIds && `${many(butIds, "event")} ${butIds === 1 ? "differs" : "differ"} only in ids or times`,
  ].filter(Boolean);
  const note = unlike.length || butIds ? also.join(" · ") : "All events have the same input and output";
  const columns = [
    "Event",
    `${own} duration`,
    `${letter} duration`,
    "Difference",
    `${own} cost`,
    `${letter} cost`,
    "Cost difference",
  ];
  const drawn = (line) => pair(line, comparison, letter);
  return [
    comparedEvents(comparison.lines, differs, drawn, {
      note,
      cut: comparison.cut && "Only the first 5,000 events of each are compared",
      columns: (body) => table([...heads(columns), ["Differs"]], body),
    }),
  ];
}

function pair(line, { a, b }, letter) {
  const side = (one, session) =>
    one
      ? make(
          "a",
          { href: url(`s/${session.session_id}?event=${one.seq}#tree`) },
          one.finished ? duration(one.seconds) : "unfinished",
        )
      : make("span", { class: "faint" }, "–");
  const differences = [
    !line.a && make("span", { class: "tag only-b" }, `only in ${letter}`),
    !line.b && make("span", { class: "tag only-a" }, `only in ${own}`),
    (!line.a || !line.b) && (line.a || line.b).failed && make("span", { class: "tag only-a" }, "failed"),
    line.moved && make("span", { class: "tag differs" }, `moved ${line.moved}`),
    line.a && line.b && line.a.model !== line.b.model && make("span", { class: "tag differs" }, "model"),
    line.input_differs && make("span", { class: "tag differs" }, "input"),
    line.output_differs && make("span", { class: "tag differs" }, "output"),
    line.only_ids_differ && make("span", { class: "faint" }, "but for ids or times"),
    ...line.marks.filter((mark) => OF_SPEED.has(mark)).map((mark) => make("span", { class: "tag only-a" }, mark)),
    line.a &&
      line.b &&
      line.a.failed !== line.b.failed &&
      make("span", { class: "tag only-a" }, `failed in ${line.a.failed ? own : letter}`),
  ].filter(Boolean);
  const what = make("td", { class: "what" });
  const name = [kindSign(line.kind), " ", line.name];
  what.style.paddingLeft = `${0.4 + Math.min(16, line.depth) * 1.1}rem`;
  const texts = [
    ["input", line.input],
    ["output", line.output],
  ].filter(([, both]) => both);
  const errors = [
    [own, line.a],
    [letter, line.b],
  ].filter(([, one]) => one?.failed && line.kind !== "error");
  const row = make(
    "tr",
    {},
    what,
    make("td", { class: "num", "data-label": own }, side(line.a, a)),
    make("td", { class: "num", "data-label": letter }, side(line.b, b)),
    make("td", { class: "num" }, line.a && line.b ? change(line.a.seconds, line.b.seconds, duration) : ""),
    make("td", { class: "num", "data-label": own }, line.a ? eventCost({ kind: line.kind, ...line.a }) : ""),
    make("td", { class: "num", "data-label": letter }, line.b ? eventCost({ kind: line.kind, ...line.b }) : ""),
    make("td", { class: "num" }, costDifference(line)),
    make("td", {}, differences),
  );
  const alone = line.a ? (line.b ? null : [line.a, a]) : [line.b, b];
  if (!texts.length && !errors.length && !alone) {
    what.append(...name, ...given(line, letter));
    return [row];
  }
  const events = [
    [a.session_id, line.a?.seq],
    [b.session_id, line.b?.seq],
  ];
  const below = make("tr", { hidden: true });
  const open = make(
    "button",
    {
      type: "button",
      class: "link",
      "aria-expanded": "false",
      onclick: () => {
        if (!below.firstChild)
          below.append(
            make(
              "td",
              { colspan: 8 },
              errors.map(([side, one]) =>
                make("div", { class: "text" }, make("h3", {}, `error in ${side}`), failure(one)),
              ),
              alone ? event(alone[1].session_id, alone[0].seq) : null,
              texts.map(([label, both]) =>
                make(
                  "div",
                  { class: "text" },
                  make("h3", {}, label),
                  marked(both, letter, own),
                  both.has_data && fetchedMedia(label, events, [own, letter]),
                ),
              ),
            ),
          );
        below.hidden = !below.hidden;
        open.setAttribute("aria-expanded", String(!below.hidden));
      },
    },
    ...name,
  );
  what.append(open, ...given(line, letter));
  return [row, below];
}

/** Return what an event was given, on a line; where two differ in that line, one below the other, from there on. */
function given({ a, b }, letter) {
  const texts = [a?.preview, b?.preview];
  const preview = (text, side = "", shown = text) =>
    make("div", { class: "preview", title: text }, side && make("span", { class: "faint" }, `${side} `), shown);
  if (!a || !b || texts[0] === texts[1]) return [texts[0] || texts[1]].filter(Boolean).map((text) => preview(text));
  const start = beforeDifference(texts.map((text) => text || ""));
  const cut = (text) => (start ? `…${text.slice(start)}` : text);
  return texts.map((text, at) => text && preview(text, at ? letter : own, cut(text))).filter(Boolean);
}

/** Return where to begin two lines, so that what differs in them is in sight: a few words before it. */
function beforeDifference([one, other]) {
  let same = 0;
  while (same < one.length && one[same] === other[same]) same += 1;
  if (same <= IN_SIGHT) return 0;
  const start = same - BEFORE;
  // Not between the two halves of a character.
  return /[\uDC00-\uDFFF]/.test(one[start]) ? start - 1 : start;
}

/** Return by how much more a line cost in the second session; nothing where neither cost anything. */
function costDifference(line) {
  const by = costOf(line);
  if (by === null) return make("span", { class: "faint", title: "The cost of one call is not known" }, "?");
  return by ? make("span", { class: by > 0 ? "more" : "less" }, signed(by)) : "";
}

const failure = (one) =>
  one.error
    ? make("pre", { class: "failed", tabindex: 0 }, one.error)
    : make("p", { class: "faint" }, "No error was recorded.");

const problem = (error) => place.replaceChildren(notice(error.message, "problem"));

/** Show what the address names: two groups, two calls, two or more runs, or the beginning. */
async function begin() {
  const params = new URLSearchParams(location.search);
  if (params.has("group_a") || params.has("group_b")) return (await import("./compare_groups.js")).groups(place);
  if (params.has("call")) return (await import("./compare_calls.js")).calls(place);
  const [first, ...others] = [data.a, data.b, ...params.getAll("also")];
  if (first && others[0] && others.some((id) => id !== first)) return show();
  return (await import("./compare_start.js")).start(place, [data.a, data.b]);
}

keepFocus(place, LINKS);
begin().then(() => returnFocus(place, LINKS), problem);
