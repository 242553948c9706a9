// Where the server is: at the top of its host, or below a path of a proxy.  This file is always in its folder web/.

const root = new URL("..", import.meta.url).pathname;

/** The address of something of the server, given without the slash in front: url("s/…"), url("") for the list. */
export const url = (path) => root + path;
