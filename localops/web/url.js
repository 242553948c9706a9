// Addresses of the server, which may be below a path of a proxy.  This file is always in its folder web/, or in
// web/~VERSION/, whose files browsers keep: by itself, or as a part of the script of a page.

const isKept = /\/~\w+\/[\w.]+\.js$/.test(import.meta.url);
const root = new URL(isKept ? "../.." : "..", import.meta.url).pathname;

/** Return an address of the server for a path without a leading slash: url("s/…"), url("") for the list. */
export const url = (path) => root + path;

/** Return the address of another file of this folder. */
export const file = (name) => new URL(name, import.meta.url).href;
