// What could be seen while a session ran: the pictures of its actions in a strip, and its video in step with the times.

import { ask, make } from "./base.js";

// Events of one request for pictures, and pictures in the strip.
const PAGE = 200,
  MOST = 1_000;

/** Return a video of a session that this page can play, or null. */
const playable = (video) => (video?.blob && video.bytes !== null ? video : null);

/** Return the first picture of each of these events that has one, by seq. */
export async function pictures(id, seqs) {
  try {
    return (await ask(`sessions/${id}/previews`, { seqs: seqs.join() })).pictures;
  } catch {
    // The events can be read without their pictures.
    return {};
  }
}

export class Film {
  /** `moved` is called when the time of the video changes. */
  constructor(page, moved) {
    this.page = page;
    this.moved = moved;
    // The time of the video in microseconds since the start of the session; null while it was not used.
    this.time = null;
    this.strip = make("div", { class: "strip", role: "group", "aria-label": "Screenshots" });
    this.element = make("div", { class: "film", hidden: true });
    this.video = null;
    // Events whose pictures were asked for, and the buttons of those that have one, by seq.
    this.asked = 0;
    this.shots = new Map();
    this._play(playable(page.facts.video));
  }

  _play(video) {
    if (!video) return;
    this.video = make("video", {
      controls: true,
      preload: "metadata",
      src: video.url,
      "aria-label": "Video of the session",
    });
    const follow = () => {
      this.time = this.page.run.begin + this.video.currentTime * 1e6;
      this._mark(this.time);
      this.moved();
    };
    for (const type of ["timeupdate", "seeking"]) this.video.addEventListener(type, follow);
    this.element.append(this.video);
    this.element.hidden = false;
  }

  /** Ask for the pictures of actions that are new. */
  async changed() {
    const { run } = this.page;
    if (this.busy) return;
    this.busy = true;
    const actions = Array.from(run.order).filter((at) => run.kindOf(at) === "action");
    while (this.asked < Math.min(MOST, actions.length)) {
      const some = actions.slice(this.asked, this.asked + PAGE);
      this.asked += some.length;
      const seqs = some.map((at) => run.seq[at]);
      // One request after the other: the first pictures are there at once, and the server is not asked for all of them.
      // oxlint-disable-next-line no-await-in-loop
      const files = await pictures(run.id, seqs);
      some.forEach((at) => files[run.seq[at]] && this._add(at, files[run.seq[at]]));
    }
    this.busy = false;
  }

  _add(at, file) {
    const { run } = this.page,
      seq = run.seq[at],
      name = run.nameOf(at) || "action";
    const shot = make(
      "button",
      {
        type: "button",
        class: "shot",
        title: `${name}, ${run.begins(at)}`,
        onclick: () => this.page.select(seq, { from: "film" }),
      },
      make("img", { src: file.url, alt: `Screenshot of ${name}`, loading: "lazy" }),
      make("small", {}, run.begins(at)),
    );
    this.shots.set(seq, shot);
    this.strip.append(shot);
    if (!this.strip.isConnected) this.element.append(this.strip);
    this.element.hidden = false;
  }

  /** Show what could be seen when an event began. */
  selected(seq) {
    const { run } = this.page,
      at = run.find(seq);
    if (at < 0) return;
    this._mark(run.start[at]);
    if (this.video?.readyState && this.video.paused)
      this.video.currentTime = Math.min(this.video.duration, Math.max(0, (run.start[at] - run.begin) / 1e6));
  }

  /** Mark the last picture that was taken at a time. */
  _mark(time) {
    const { run } = this.page;
    let last = null;
    for (const [seq, shot] of this.shots) {
      shot.classList.remove("current");
      if (run.start[run.find(seq)] <= time + 1) last = shot;
    }
    last?.classList.add("current");
    // Only the strip scrolls: the page stays where it is.
    if (last) this.strip.scrollLeft = last.offsetLeft - this.strip.clientWidth / 2 + last.clientWidth / 2;
  }
}
