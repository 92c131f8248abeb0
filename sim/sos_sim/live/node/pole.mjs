// One live pole: the power supply, the reset line and the watchdog around a worker that runs the interpreter.
// Standard input and output carry the control channel, one JSON object a line; CONTROL.md lists both directions.
import fs from "node:fs";
import { Worker } from "node:worker_threads";
import { CELL, CELLS, now, say } from "./clock.mjs";

const WATCHDOG_GRAIN_MS = 250; // how often the feeds are looked at: far below the shortest timeout in use
const STALL_MS = 200; // a check later than this means that the whole process stood still: no fault of the firmware

const cells = new Int32Array(new SharedArrayBuffer(4 * CELLS));
let config = null; // the line that switched the pole on; a restart of the board uses it again
let worker = null;
let inputs = {}; // levels that hold now, by name
let planned = []; // [time, levels] still to come, in order
let checkedAt = now();
let feeds = 0;
let hungryMs = 0;
let boots = 0; // starts since power-on

function post(message, wake = true) {
  if (!worker) return;
  worker.postMessage(message);
  if (!wake) return;
  Atomics.add(cells, CELL.wake, 1);
  Atomics.notify(cells, CELL.wake);
}

function settle() { // the levels whose time has come become the levels that hold
  while (planned.length && planned[0][0] <= now()) Object.assign(inputs, planned.shift()[1]);
}

const isLevels = (value) => value?.constructor === Object && Object.values(value).every(Number.isFinite);
const isStep = (step) => Array.isArray(step) && Number.isFinite(step[0]) && isLevels(step[1]);

function demand(good, what) { // before anything is done, so that a line is obeyed whole or not at all
  if (!good) throw new TypeError(what);
}

function plan(steps) { // steps: [time, levels], times on the clock of now()
  settle();
  planned.push(...steps);
  planned.sort((a, b) => a[0] - b[0]);
  post({ steps });
}

function start(cause) {
  cells.fill(0);
  feeds = hungryMs = 0;
  boots++;
  settle();
  const workerData = { config, cells, cause, boots, inputs, planned };
  const born = new Worker(new URL("./worker.mjs", import.meta.url), { workerData, stdout: false, stderr: false });
  worker = born;
  born.on("message", (message) => message.reset && reset(message.reset));
  born.on("error", (error) => {
    fs.writeSync(2, `${error?.stack ?? error}\n`);
    say({ ev: "broken", text: String(error?.message ?? error) }); // our own fault, never the firmware's
    process.exit(70);
  });
}

function reset(cause) {
  const old = worker;
  worker = null;
  say({ ev: "reset", cause });
  old?.removeAllListeners();
  old?.terminate().then(() => start(cause));
}

function watch() {
  const t = now();
  const passed = t - checkedAt;
  checkedAt = t;
  const timeout = Atomics.load(cells, CELL.watchdog);
  const fed = Atomics.load(cells, CELL.feeds);
  if (fed !== feeds || !timeout || !worker) {
    feeds = fed;
    hungryMs = 0;
    return;
  }
  hungryMs += Math.min(passed, STALL_MS);
  if (hungryMs > timeout) reset("watchdog");
}

const commands = {
  power_on(line) {
    demand(!config, "the power is on already");
    demand(isLevels(line.inputs ?? {}), "inputs: levels by name");
    config = line;
    inputs = line.inputs ?? {};
    start("power_on");
  },
  set({ inputs: levels }) {
    demand(isLevels(levels), "inputs: levels by name");
    plan([[now(), levels]]);
  },
  play({ steps, id }) { // [ms from now, levels]: executed to the tick, whatever the other end of the channel does
    demand(Array.isArray(steps) && steps.every(isStep), "steps: [milliseconds, levels by name]");
    const t = now();
    say({ ev: "playing", id, t0: t / 1000 });
    plan(steps.map(([ms, levels]) => [t + ms, levels]));
  },
  // In the middle of a frame there is nothing to do yet; a firmware that turns meanwhile finds the bytes all the same.
  uart: ({ hex, more }) => post({ uart: Buffer.from(hex, "hex"), at: now() }, !more),
  // Between two starts there is no USB port: what was said to the board before does not reach the one after.
  usb: ({ hex, boot }) => boot === boots && post({ usb: Buffer.from(hex, "hex") }),
  power_cut: ({ during, nth, byte }) => post({ cut: { during, nth, byte } }),
  stats: ({ id }) => post({ stats: id }),
  reset: () => reset("power_on"),
  off: () => process.exit(0),
};

// What is no command is refused in words: whoever drives the pole by hand makes mistakes, and it lives on.
function obey(text) {
  try {
    const line = JSON.parse(text);
    const op = line?.op;
    demand(Object.hasOwn(commands, op), `no command ${JSON.stringify(op)}`);
    demand(config || op === "power_on" || op === "off", `${op}: the power is off`);
    commands[op](line);
  } catch (error) {
    say({ ev: "refused", text: error.message });
  }
}

let rest = "";
process.stdin.setEncoding("utf8");
process.stdin.on("data", (text) => {
  const lines = (rest + text).split("\n");
  rest = lines.pop();
  lines.forEach(obey);
});
process.stdin.on("end", () => process.exit(0)); // whoever held the channel is gone: leave nothing behind
process.on("SIGINT", () => {}); // Ctrl-C in the terminal is for the simulator, which switches the poles off
setInterval(watch, WATCHDOG_GRAIN_MS);
fs.fstatSync(1); // fails at once if there is no channel to speak on
