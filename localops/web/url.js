// Addresses of the server, which may be below a path of a proxy.  This file is always in its folder web/.

const root = new URL("..", import.meta.url).pathname;

/** Return an address of the server for a path without a leading slash: url("s/…"), url("") for the list. */
export const url = (path) => root + path;
