// The runs of several sessions as one: the numbers of the events of a run follow those of the run before.

const COPIED = ["took", "failed", "tokens"];

export class Joined {
  constructor(runs) {
    this.runs = runs;
    this.firsts = [];
    this.n = 0;
    for (const run of runs) {
      this.firsts.push(this.n);
      this.n += run.n;
    }
    this.agents = [...new Set(runs.flatMap((run) => run.agents))];
    const numbers = new Map(this.agents.map((name, number) => [name, number]));
    const joined = (one) =>
      Float64Array.from(runs.flatMap((run) => Array.from({ length: run.n }, (_, at) => one(run, at))));
    for (const name of COPIED) this[name] = joined((run, at) => run[name][at]);
    this.agent = joined((run, at) => (run.agent[at] < 0 ? -1 : numbers.get(run.agentOf(at))));
    // Numbers of its own, as a seq of the server belongs to one session.
    this.seq = Float64Array.from({ length: this.n }, (_, at) => at);
    this.order = runs.flatMap((run, index) => Array.from(run.order, (at) => this.firsts[index] + at));
  }

  /** Return which run an event is of, and its number there. */
  placeOf(at) {
    const index = this.firsts.findLastIndex((first, each) => first <= at && this.runs[each].n > 0);
    return [index, at - this.firsts[index]];
  }

  _ask(name, at) {
    const [index, own] = this.placeOf(at);
    return this.runs[index][name](own);
  }

  find(at) {
    return at >= 0 && at < this.n ? at : -1;
  }

  kindOf(at) {
    return this._ask("kindOf", at);
  }

  nameOf(at) {
    return this._ask("nameOf", at);
  }

  titleOf(at) {
    return this._ask("titleOf", at);
  }

  modelOf(at) {
    const [index, own] = this.placeOf(at);
    return this.runs[index].models[this.runs[index].model[own]] || "";
  }

  agentOf(at) {
    return this._ask("agentOf", at);
  }

  errorIn(at) {
    const inside = this._ask("errorIn", at);
    return inside < 0 ? -1 : inside + this.firsts[this.placeOf(at)[0]];
  }

  begins(at) {
    return this._ask("begins", at);
  }

  costOf(at) {
    return this._ask("costOf", at);
  }

  addressOf(at) {
    return this._ask("addressOf", at);
  }
}
