// Live updates of the server, by one stream for all visible pages of a browser.  A browser opens six connections to a
// host: if each page had a stream of its own, the seventh page would wait for ever.

import { file, url } from "./url.js";

// Milliseconds after which a refused stream is opened again.
const RETRY = 5_000;

/** A stream that is open while it has listeners; they get the newest state, and null while it is interrupted. */
class Stream {
  constructor() {
    this.listeners = new Set();
    this.last = null;
    this.source = null;
  }

  join(listener) {
    this.listeners.add(listener);
    if (this.last !== null) listener(this.last);
    if (!this.source) this._open();
  }

  leave(listener) {
    this.listeners.delete(listener);
    if (this.listeners.size) return;
    this.source?.close();
    this.source = this.last = null;
  }

  _open() {
    const source = (this.source = new EventSource(url("api/1/live")));
    source.addEventListener("change", (event) => this._send(event.data));
    source.addEventListener("error", () => {
      if (this.source !== source) return;
      this._send(null);
      // The browser reconnects after an interruption, but not after a refusal.
      if (source.readyState === EventSource.CLOSED) setTimeout(() => this.source === source && this._open(), RETRY);
    });
  }

  _send(news) {
    this.last = news;
    this.listeners.forEach((listener) => listener(news));
  }
}

const stream = new Stream();

/** Listen, in a shared worker if the browser has them; return a function that stops. */
export function listen(listener) {
  if (typeof SharedWorker === "undefined") {
    stream.join(listener);
    return () => stream.leave(listener);
  }
  const { port } = new SharedWorker(file("news.js"), { type: "module", name: "news" });
  port.onmessage = (event) => listener(event.data);
  return () => {
    port.postMessage("leave");
    port.close();
  };
}

if (typeof SharedWorkerGlobalScope !== "undefined") {
  // This script runs as the shared worker.
  self.onconnect = ({ ports: [port] }) => {
    const listener = (news) => port.postMessage(news);
    port.onmessage = () => stream.leave(listener);
    stream.join(listener);
  };
}
