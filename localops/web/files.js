// The files of the events that were fetched, by digest: values refer to them as `{"$blob": digest}`.

const known = new Map();

/** Keep the facts of an event's files: their type, size and address. */
export const know = (files) => files?.forEach((file) => known.set(file.digest, file));

/** Return the facts of a file; undefined for one that no fetched event has. */
export const fileOf = (digest) => known.get(digest);
