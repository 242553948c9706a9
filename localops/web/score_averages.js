// The averages of scores, by name and author, each with its 95% interval.

import { count, percent } from "./formats.js";
import { ranking } from "./ranking.js";

const isShare = (line) => line.interval === "wilson";
const shown = (line, value) =>
  isShare(line) ? percent(value) : String(Number(value.toPrecision(4))).replace("-", "−");
const named = (line) => (line.label === null ? line.name : `${line.name} = ${line.label}`);
const numeric = (label, value, text = (line) => count(value(line)), more = {}) => ({
  label,
  num: true,
  text,
  sort: value,
  ...more,
});

/** Return a table of averages; `within` gives the address of the sessions that pass one more filter. */
export function averagesOfScores({ lines }, within) {
  if (!lines.length) return [];
  return ranking({
    title: "Scores",
    rows: lines,
    to: (line) => within({ score: `${line.name}@${line.by}${line.label === null ? "" : `=${line.label}`}` }),
    columns: [
      { label: "Score", text: named, sort: named },
      { label: "Of", text: (line) => line.of, sort: (line) => line.of, isSpare: true },
      { label: "By", text: (line) => line.by, sort: (line) => line.by },
      numeric("Scores", (line) => line.count),
      numeric("Sessions", (line) => line.sessions, undefined, { isSpare: true }),
      numeric(
        "Mean",
        (line) => line.mean,
        (line) => shown(line, line.mean),
      ),
      {
        label: "95% interval",
        num: true,
        text: (line) =>
          line.low === null || line.high === null ? "–" : `${shown(line, line.low)} … ${shown(line, line.high)}`,
        hint: "Student's t for the mean of numbers, Wilson's for shares",
      },
    ],
  });
}
