// What both threads share: the clock, the cells of shared memory, and the one way to speak on the control channel.
import fs from "node:fs";

// Cells of the shared Int32Array. wake: counts what was posted to the worker; feeds: counts feeds of the watchdog;
// watchdog: its timeout in ms, 0 before it was started; interrupt: Ctrl-C asked for; never: nobody ever notifies it.
export const CELL = { wake: 0, feeds: 1, watchdog: 2, interrupt: 3, never: 4 };
export const CELLS = 8;

// Milliseconds of CLOCK_MONOTONIC, with fractions: the clock that Python calls time.monotonic().
export function now() {
  return Number(process.hrtime.bigint()) / 1e6;
}

// One event, one line, one write: lines of both threads do not mix. Times are seconds of time.monotonic().
export function say(event, at = now()) {
  fs.writeSync(1, JSON.stringify({ ...event, t: Math.round(at * 1000) / 1e6 }) + "\n");
}
