// The microcontroller: MicroPython with the firmware's files, entered once a turn from top level, because memory is
// collected only there. Between the turns the thread sleeps until bytes, an edge or the next slice come.
import fs from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { Board } from "./board.mjs";
import { CELL, now, say } from "./clock.mjs";
import { Repl } from "./repl.mjs";

const SLICE_MS = 20; // the firmware's timers are made up for at least so often; it wakes itself for what is due before
const EDGE_MS = 10; // after an edge of an input: wake at each tick of a timer, until the firmware itself asks for more
const COLLECT_EVERY_MS = 1000; // when nothing happens
const COLLECT_BUSY_MS = 50; // with traffic, which is what leaves garbage: some kilobytes a frame
const RESET_CODES = { // what machine.reset_cause() says; an RP2 resets itself by its watchdog
  rp2: { power_on: 1, watchdog: 3, reset: 3, soft: 3 },
  esp32: { power_on: 1, watchdog: 3, reset: 2, soft: 5 },
};
const FIRST_HEAP = 16 * 1024; // grows by itself; the limit is checked, not given

const { config, cells, cause, boots } = workerData;
let memory = null;
let board = null;

// The interpreter's own clock is wall time, which jumps. It gets the board's.
const instantiate = WebAssembly.instantiate;
WebAssembly.instantiate = async (binary, imports) => {
  imports.env.mp_js_ticks_ms = () => {
    board.interrupt();
    return Math.floor(board.time() - board.poweredAt) & 0x3fffffff;
  };
  const result = await instantiate(binary, imports);
  memory = (result.instance ?? result).exports.memory;
  return result;
};

function install(mp) {
  const put = (path, data) => {
    let folder = "";
    for (const name of path.split("/").slice(1, -1)) {
      folder += "/" + name;
      if (!mp.FS.analyzePath(folder).exists) mp.FS.mkdir(folder);
    }
    mp.FS.writeFile(path, data);
  };
  const shim = new URL("./shim/", import.meta.url);
  for (const name of fs.readdirSync(shim).filter((name) => name.endsWith(".py"))) put(`/shim/${name}`, fs.readFileSync(new URL(name, shim)));
  for (const [path, source] of config.files) put(path, fs.readFileSync(source));
  put("/settings.json", JSON.stringify(config.settings));
}

function crashed(where, error) {
  if (error?.name !== "PythonError") throw error; // a fault of this program, not of the firmware
  say({ ev: "crash", where, text: String(error.message).trim() });
}

class Machine {
  constructor(mp) {
    this.mp = mp;
    this.state = "boot"; // run: the firmware has the loop; repl: the prompt has it; dead: nobody has
    this.repl = new Repl(mp, board, () => board.api.reset(1));
    this.due = 0; // milliseconds until the firmware wants its next turn
    this.collectedAt = 0;
    this.heap = 0;
    this.base = 0;
  }

  boot() {
    this.mp.runPython(`import sys; sys.path.insert(0, "/shim")`);
    this.mp.runPython("import shim_host");
    const host = this.mp.pyimport("shim_host");
    this.call = {};
    for (const name of ["prepare", "build", "turn", "fire", "collect", "used"]) this.call[name] = host[name];
    this.call.prepare(config.chip, RESET_CODES[config.chip][cause]);
    this.base = this.#used();
    try {
      this.call.build();
    } catch (error) {
      crashed("build", error);
      this.stop();
      return;
    }
    this.state = "run";
    say({ ev: "started", cause, boot: boots });
  }

  // The firmware has no more to say: the prompt takes over where there is a USB port, as on the board.
  stop() {
    this.state = "repl";
    this.repl.open();
    say({ ev: "repl" });
  }

  turn() {
    board.drain();
    this.timers();
    if (this.state === "run") {
      try {
        board.running = true;
        this.due = this.call.turn();
        if (this.due < 0) this.stop();
      } catch (error) {
        crashed("turn", error);
        this.stop();
      } finally {
        board.running = false;
      }
    } else {
      this.repl.turn();
    }
    board.tell();
    this.collect();
  }

  timers() {
    for (const [id, calls] of board.due(now())) {
      try {
        this.call.fire(id, calls);
      } catch (error) {
        crashed("timer", error);
        board.timers.delete(id);
      }
    }
    board.level("");
  }

  #used() {
    this.call.collect();
    return this.call.used();
  }

  collect() {
    const t = now();
    if (t - this.collectedAt < (board.busyAt > this.collectedAt ? COLLECT_BUSY_MS : COLLECT_EVERY_MS) && board.stats === null) return;
    this.collectedAt = t;
    this.heap = this.#used() - this.base;
    if (this.heap > config.heap && this.state === "run") {
      say({ ev: "crash", where: "heap", text: `MemoryError: ${this.heap} bytes in use, the board has ${config.heap}` });
      this.stop();
    }
    if (board.stats !== null) say({ ev: "stats", id: board.stats, heap: this.heap, lost: board.lost });
    board.stats = null;
  }

  async loop() {
    for (let turns = 1; ; turns++) {
      const seen = Atomics.load(cells, CELL.wake);
      this.turn();
      const wait = this.#wait();
      if (wait > 0) Atomics.wait(cells, CELL.wake, seen, wait);
      if (turns % 500 === 0) await new Promise(setImmediate); // JavaScript's own clean-up of proxies runs there
    }
  }

  #wait() {
    const t = now();
    const edge = board.planned.length ? board.planned[0][0] : t - board.edgeAt < EDGE_MS ? t : Infinity;
    let wake = t + (this.state === "run" ? Math.min(this.due, SLICE_MS) : SLICE_MS);
    if (edge < wake) for (const timer of board.timers.values()) wake = Math.min(wake, tickAfter(timer, edge));
    return wake - t;
  }
}

// The first call of the timer that sees what happened at that time.
function tickAfter(timer, time) {
  return timer.at + Math.max(0, Math.ceil((time - timer.at) / (timer.period || 1))) * timer.period;
}

let machine = null;
board = new Board(workerData, parentPort, () => memory);
const { loadMicroPython } = await import(config.micropython);
const mp = await loadMicroPython({
  heapsize: FIRST_HEAP,
  linebuffer: false,
  stdout: (bytes) => machine.repl.printed(bytes[0]),
});
board.raise = () => mp._module._mp_sched_keyboard_interrupt();
install(mp);
mp.registerJsModule("_board", board.api);
machine = new Machine(mp);
machine.boot();
await machine.loop();
