// The screen during a session: pictures of its actions in a strip, and its video in sync with the times.

import { ask, make } from "./base.js";

// Events of one request for pictures, and pictures in the strip.
const PAGE = 200,
  MOST = 1_000;

/** Return a video of a session that this page can play, or null. */
const playable = (video) => (video?.blob && video.bytes !== null && video.url ? video : null);

/** Return the first picture of each of these events that has one, by seq. */
async function pictures(id, seqs) {
  try {
    const reply = await ask(`sessions/${id}/previews`, { seqs: seqs.join() });
    // A large response lacks its last events.
    const left = seqs.filter((seq) => !(seq in reply.previews));
    const isMore = left.length > 0 && left.length < seqs.length;
    return isMore ? { ...reply.pictures, ...(await pictures(id, left)) } : reply.pictures;
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
    // Events whose pictures were requested, and the buttons of those with a picture, by seq.
    this.asked = new Set();
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

  /** Ask for the pictures of actions that have ended since. */
  async changed() {
    const { run } = this.page;
    if (this.busy) return;
    this.busy = true;
    const action = run.kinds.indexOf("action");
    const fresh = run.order.filter(
      (at) => run.kind[at] === action && run.took[at] >= 0 && !this.asked.has(run.seq[at]),
    );
    const seqs = Array.from(fresh, (at) => run.seq[at]).slice(0, Math.max(0, MOST - this.asked.size));
    seqs.forEach((seq) => this.asked.add(seq));
    for (let at = 0; at < seqs.length; at += PAGE) {
      const some = seqs.slice(at, at + PAGE);
      // One request at a time: the first pictures appear early, and the server does not get all requests at once.
      // oxlint-disable-next-line no-await-in-loop
      const files = await pictures(run.id, some);
      some.forEach((seq) => files[seq] && this._add(seq, files[seq]));
    }
    this.busy = false;
  }

  _add(seq, file) {
    const { run } = this.page,
      at = run.find(seq),
      name = run.nameOf(at) || "action";
    const shot = make(
      "button",
      {
        type: "button",
        class: "shot",
        title: `${name}, ${run.begins(at)}`,
        onclick: () => this.page.select(seq, { from: "film", isStep: true }),
      },
      make("img", { src: file.url, alt: `Screenshot of ${name}`, loading: "lazy" }),
      make("small", {}, run.begins(at)),
    );
    const later = [...this.shots].find(([each]) => run.start[run.find(each)] > run.start[at]);
    this.strip.insertBefore(shot, later ? later[1] : null);
    this.shots.set(seq, shot);
    if (!this.strip.isConnected) this.element.append(this.strip);
    this.element.hidden = false;
  }

  /** Show what could be seen when an event began. */
  selected(seq) {
    const { run } = this.page,
      at = run.find(seq);
    if (at < 0) return;
    this._mark(run.start[at]);
    if (this.video?.readyState)
      this.video.currentTime = Math.min(this.video.duration, Math.max(0, (run.start[at] - run.begin) / 1e6));
  }

  /** Mark the last picture that was taken at a time. */
  _mark(time) {
    const { run } = this.page;
    let best = null,
      latest = -Infinity;
    for (const [seq, shot] of this.shots) {
      shot.classList.remove("current");
      const start = run.start[run.find(seq)];
      if (start <= time + 1 && start >= latest) [best, latest] = [shot, start];
    }
    if (!best) return;
    best.classList.add("current");
    // Only the strip scrolls: the page stays where it is.
    this.strip.scrollLeft = best.offsetLeft - this.strip.clientWidth / 2 + best.clientWidth / 2;
  }
}
