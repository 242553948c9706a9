// What is new on the server, heard by one stream for all pages of a browser that are in sight.  A browser has six
// connections to a host: if each page had a stream of its own, the seventh would wait for ever.

import { url } from "./url.js";

const AGAIN = 5_000; // milliseconds after which a stream that was refused is tried once more

/** A stream that lasts for as long as somebody listens; they hear how far the rows go, and null while it is cut. */
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
    source.addEventListener("change", (event) => this._tell(event.data));
    source.addEventListener("error", () => {
      if (this.source !== source) return;
      this._tell(null);
      // What is cut comes back by itself, what was refused does not.
      if (source.readyState === EventSource.CLOSED) setTimeout(() => this.source === source && this._open(), AGAIN);
    });
  }

  _tell(news) {
    this.last = news;
    this.listeners.forEach((listener) => listener(news));
  }
}

const stream = new Stream();

/** Listen together with all other pages, in a worker that they share where there is one; return how to stop. */
export function listen(listener) {
  if (typeof SharedWorker === "undefined") {
    stream.join(listener);
    return () => stream.leave(listener);
  }
  const { port } = new SharedWorker(url("web/news.js"), { type: "module", name: "news" });
  port.onmessage = (event) => listener(event.data);
  return () => {
    port.postMessage("leave");
    port.close();
  };
}

if (typeof SharedWorkerGlobalScope !== "undefined") {
  // this is that worker
  self.onconnect = ({ ports: [port] }) => {
    const listener = (news) => port.postMessage(news);
    port.onmessage = () => stream.leave(listener);
    stream.join(listener);
  };
}
