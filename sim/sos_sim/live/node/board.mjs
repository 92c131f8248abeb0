// The hardware as the firmware finds it: levels on pins, outputs, timers, serial ports, flash, watchdog, time.
// `api` is what the MicroPython side (shim/) calls; it takes and gives integers and addresses only, because a bytes
// object crosses the border as a proxy without a length.
import { receiveMessageOnPort } from "node:worker_threads";
import { CELL, now, say } from "./clock.mjs";
import { Flash } from "./flash.mjs";

const TICKS_MASK = 0x3fffffff; // MicroPython's ticks wrap after 2^30
const FIFO_BYTES = 32; // RP2040 UART: what the hardware holds while interrupts are off
const USB_BUFFER_BYTES = 64 * 1024; // far more than USB's flow control lets through at once
const SOFT_CALLBACKS = 8; // MicroPython's scheduler holds as many; a soft timer loses the rest
const LINE_BYTES = 1500; // an event stays below PIPE_BUF (4,096), so that the lines of both threads never mix
const FLOATING = -1; // an input that nobody drives: the pull decides

export class Board {
  constructor({ config, cells, inputs, planned }, port, memory) {
    Object.assign(this, { config, cells, port, memory });
    this.levels = new Map(Object.entries(inputs));
    this.madeUpTo = 0; // the time to which the firmware has seen its inputs
    this.planned = planned.map(([at, levels]) => [at, levels, false]);
    this.poweredAt = now() - (config.ticks_ms ?? 0);
    this.step = 0; // from one call of a timer to the next
    this.moment = null; // while a timer that is due is replayed: the moment when it was due
    this.outputs = new Map();
    this.changed = null; // outputs that changed since they were last told
    this.timers = new Map();
    this.dark = []; // [from, until] of flash work, interrupts off
    const { link, board } = config.settings;
    this.driver = link?.kind === "rs485" ? `pin${board.uart.de}` : null; // the pin that lets this end talk on a pair
    this.uart = null; // {baud, buffer, room, busyUntil}
    this.usbIn = [];
    this.usbOut = [];
    this.interruptChar = 3;
    this.running = false; // the interpreter is inside Python code
    this.raise = () => {}; // how to interrupt it, once there is one
    this.stats = null;
    this.busyAt = now(); // last traffic or edge
    this.edgeAt = 0; // last change of an input
    this.lost = 0; // received bytes that found no room
    this.flash = new Flash(config.flash, config.flash_size, (ms) => this.pause(ms), (a, b) => this.dark.push([a, b]));
    this.api = this.#api();
  }

  time() {
    return this.moment ?? now();
  }

  // Ctrl-C on the USB port, as long as the firmware wants that character to interrupt.
  interrupt() {
    const at = this.interruptChar < 0 ? -1 : this.usbIn.indexOf(this.interruptChar);
    if (at < 0 || !this.running) return;
    this.usbIn.splice(0, at + 1);
    this.raise();
  }

  pause(ms) { // as the board: interrupts may come meanwhile, the program does not go on
    if (ms > 0) Atomics.wait(this.cells, CELL.never, 0, ms);
  }

  view(address, size) {
    return new Uint8Array(this.memory().buffer, address, size);
  }

  // Inputs: piecewise constant, each change with its time. Whoever looks beside the sampling timer sees no more than the
  // timer has: on a busy machine a contact that came meanwhile would be over before any sample fell into it.
  level(name) {
    const at = this.moment ?? (this.timers.size ? this.madeUpTo : now());
    while (this.planned.length && this.planned[0][0] <= at) this.#apply(this.planned.shift());
    const sense = this.config.senses.find((one) => one.level === name);
    if (sense) return this.#draws(sense) ? sense.on : sense.off;
    return this.levels.get(name) ?? FLOATING;
  }

  #draws({ outputs, broken }) {
    return !this.levels.get(broken) && outputs.some((output) => this.outputs.get(output) > 0);
  }

  #apply([at, levels]) {
    for (const [name, value] of Object.entries(levels)) this.levels.set(name, value);
    this.busyAt = this.edgeAt = now();
    say({ ev: "input", inputs: levels }, at);
  }

  // Outputs are told as a set, when the firmware has finished with them or turns to something else that matters.
  put(name, value) {
    if (this.outputs.get(name) === value) return;
    this.outputs.set(name, value);
    if (name === this.driver) return value || this.#releaseLine();
    (this.changed ??= { at: 0, pins: {} }).pins[name] = value;
    this.changed.at = now();
  }

  // The driver of a shared pair was switched off: what has not left the UART yet reaches nobody.
  #releaseLine() {
    if (this.uart?.busyUntil > now()) say({ ev: "hush" });
  }

  tell() {
    if (!this.changed && !this.usbOut.length) return;
    if (this.changed) say({ ev: "output", pins: this.changed.pins }, this.changed.at);
    this.changed = null;
    const bytes = Buffer.concat(this.usbOut);
    this.usbOut = [];
    for (let at = 0; at < bytes.length; at += LINE_BYTES) {
      say({ ev: "usb", hex: bytes.toString("hex", at, Math.min(at + LINE_BYTES, bytes.length)) });
    }
  }

  // Messages from the main thread, in order.
  drain() {
    for (let message; (message = receiveMessageOnPort(this.port)?.message); ) {
      if (message.steps) this.#plan(message.steps);
      else if (message.uart) this.#received(message.uart, message.at);
      else if (message.usb) this.#typed(message.usb);
      else if (message.cut) this.flash.cut = { nth: 1, byte: 0, ...message.cut };
      else if ("stats" in message) this.stats = message.stats;
    }
  }

  // On a busy machine steps may come after their time has been made up for: they are moved, so that no contact is cut.
  #plan(steps) {
    const late = Math.max(0, this.madeUpTo - steps[0][0]);
    this.planned.push(...steps.map(([at, levels]) => [at + late, levels]));
    this.planned.sort((a, b) => a[0] - b[0]);
  }

  // While interrupts were off only the FIFO took bytes: what came beyond it is lost. A chunk ends at its time.
  #received(bytes, at) {
    this.busyAt = now();
    if (!this.uart) return;
    const dark = this.dark.find(([from, until]) => at > from && at <= until);
    const room = Math.min(this.uart.room - this.uart.buffer.length, dark ? FIFO_BYTES - (dark.taken ?? 0) : Infinity);
    const taken = Math.max(0, Math.min(room, bytes.length));
    if (dark) dark.taken = (dark.taken ?? 0) + taken;
    this.uart.buffer.push(...bytes.subarray(0, taken));
    this.lost += bytes.length - taken;
  }

  #typed(bytes) {
    this.busyAt = now();
    if (this.usbIn.length + bytes.length <= USB_BUFFER_BYTES) this.usbIn.push(...bytes);
    else this.lost += bytes.length;
  }

  // Timers. Each call that was due since the last turn is made up for, with time and inputs as they were then. The
  // calls that fell into flash work come in quick succession at its end, as the RP2040 makes up for them.
  // Yields [timer, calls]; the calls of one timer that nothing comes between are made in one go.
  *due(until) {
    this.madeUpTo = until;
    for (;;) {
      const timer = this.#next(until);
      if (!timer) break;
      const dark = this.dark.find(([from, end]) => timer.at > from && timer.at < end);
      this.moment = dark ? dark[1] : timer.at;
      this.step = 0;
      let calls = 1;
      if (!timer.period) this.timers.delete(timer.id);
      else if (this.timers.size === 1 && !this.dark.length) {
        calls = Math.floor((until - timer.at) / timer.period) + 1;
        this.step = timer.period;
      }
      timer.at += timer.period * calls;
      if (dark && !timer.hard && (dark.made = (dark.made ?? 0) + 1) > SOFT_CALLBACKS) continue;
      yield [timer.id, calls];
    }
    this.moment = null;
    this.dark = this.dark.filter(([, end]) => end > until);
  }

  #next(until) {
    let next = null;
    for (const timer of this.timers.values()) if (timer.at <= until && (!next || timer.at < next.at)) next = timer;
    return next;
  }

  #api() {
    return { ...this.#timeApi(), ...this.#pinApi(), ...this.#uartApi(), ...this.#usbApi(), ...this.#flashApi() };
  }

  #timeApi() {
    return {
      ticks_us: () => Math.floor((this.time() - this.poweredAt) * 1000) & TICKS_MASK,
      sleep_us: (us) => this.#sleep(us / 1000),
      feed: () => (this.tell(), Atomics.add(this.cells, CELL.feeds, 1), 0),
      watchdog: (ms) => (Atomics.store(this.cells, CELL.watchdog, ms), 0),
      timer_start: (id, period_us, once, hard) => {
        const period = period_us / 1000;
        this.timers.set(id, { id, at: now() + period, period: once ? 0 : period, hard });
        return 0;
      },
      timer_next: () => ((this.moment += this.step), 0),
      timer_stop: (id) => (this.timers.delete(id), 0),
      reset: (soft) => {
        this.tell();
        this.port.postMessage({ reset: soft ? "soft" : "reset" });
        for (;;) this.pause(1000); // the main thread ends this one: no code runs behind a reset
      },
      random: (address, size) => (crypto.getRandomValues(this.view(address, size)), 0),
      unique_id: () => String(this.config.settings.pole ?? "pole").padEnd(8, "-"),
      log: (address, size) => (say({ ev: "log", text: Buffer.from(this.view(address, size)).toString() }), 0),
    };
  }

  #sleep(ms) {
    this.tell();
    const until = now() + ms;
    for (let left = ms; left > 0; left = until - now()) {
      this.pause(Math.min(left, 20));
      this.interrupt();
    }
    return 0;
  }

  #pinApi() {
    return {
      level: (pin) => this.level(`pin${pin}`),
      adc: (pin) => Math.max(0, this.level(`adc${pin}`)),
      put: (pin, value) => (this.put(`pin${pin}`, value), 0),
      put_hertz: (pin, value) => (this.put(`hz${pin}`, value), 0),
    };
  }

  #uartApi() {
    return {
      uart_open: (baud, room) => ((this.uart = { baud, buffer: [], room, busyUntil: 0 }), 0),
      uart_close: () => ((this.uart = null), 0),
      uart_any: () => (this.drain(), this.uart ? this.uart.buffer.length : 0),
      uart_read: (address, size) => this.#take(this.uart?.buffer ?? [], address, size),
      uart_write: (address, size) => {
        this.tell();
        this.busyAt = now();
        const bytes = Buffer.from(this.view(address, size));
        this.uart.busyUntil = Math.max(this.uart.busyUntil, this.busyAt) + (size * 10000) / this.uart.baud;
        const driven = !this.driver || this.outputs.get(this.driver);
        if (driven) say({ ev: "uart", hex: bytes.toString("hex") }, this.busyAt);
        return size;
      },
      uart_busy_us: () => Math.max(0, Math.ceil(((this.uart?.busyUntil ?? 0) - now()) * 1000)),
    };
  }

  #usbApi() {
    return {
      usb_any: () => (this.drain(), this.usbIn.length),
      usb_read: (address, size) => this.#take(this.usbIn, address, size),
      usb_write: (address, size) => {
        this.busyAt = now();
        this.usbOut.push(Buffer.from(this.view(address, size)));
        return size;
      },
      kbd_intr: (char) => ((this.interruptChar = char), 0),
    };
  }

  #flashApi() {
    const work = (how) => {
      this.tell(); // what the lamp says stands before the flash is touched, or a power cut would tell it wrong
      how();
      this.drain();
      return 0;
    };
    return {
      files_size: () => this.config.files_size,
      flash_size: () => this.config.flash_size,
      flash_read: (offset, address, size) => (this.flash.read(offset, this.view(address, size)), 0),
      flash_program: (offset, address, size) => work(() => this.flash.program(offset, Buffer.from(this.view(address, size)))),
      flash_erase: (offset) => work(() => this.flash.erase(offset)),
    };
  }

  #take(queue, address, size) {
    const bytes = queue.splice(0, size);
    this.view(address, bytes.length).set(bytes);
    return bytes.length;
  }
}
