// The time.  A report is of the moment when it was written: what went on then is shown as it was.

/** Whether this page is a report, a file that has no server. */
export const isReport = "report" in document.documentElement.dataset;

let stopped = 0;

/** Stop the clock of a report at a time in milliseconds since 1970. */
export function stop(time) {
  stopped = time;
}

/** Return the time in milliseconds since 1970. */
export const now = () => stopped || Date.now();
