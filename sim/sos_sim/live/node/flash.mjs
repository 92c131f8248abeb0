// NOR flash in a file that outlives the process. Programming only clears bits, erasing sets whole sectors, both take
// their time with interrupts off, and a power cut may fall behind any byte of either.
import fs from "node:fs";
import { now, say } from "./clock.mjs";

export const PAGE = 256;
export const SECTOR = 4096;
const PROGRAM_MS = 0.7; // W25Q16JV: a page, typical 0.4, at most 3; as measured on a Pico with the XIP restart
const ERASE_MS = 45; // the same part: a sector, typical
const SPIN_MS = 1; // a wait shorter than this is spun: a sleep would end late by a good part of it
const PARTS = 4; // an operation reaches the file in this many steps

export class Flash {
  // size: bytes, a multiple of the sector. blocked(from, until): told of each time that interrupts were off.
  constructor(path, size, pause, blocked) {
    this.fd = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o644);
    this.size = size;
    this.pause = pause;
    this.blocked = blocked;
    this.cut = null; // {during, nth, byte}: the power goes inside the nth operation of that kind from now on
    const there = fs.fstatSync(this.fd).size;
    if (there < size) fs.writeSync(this.fd, Buffer.alloc(size - there, 0xff), 0, size - there, there);
  }

  read(address, view) {
    fs.readSync(this.fd, view, 0, view.length, address);
  }

  program(address, data) {
    for (let at = 0; at < data.length; at += PAGE) {
      const old = Buffer.alloc(Math.min(PAGE, data.length - at));
      this.read(address + at, old);
      const written = { from: old.length, to: 0 }; // the bytes that are not all ones: what the others hold stays
      for (let i = 0; i < old.length; i++) {
        old[i] &= data[at + i];
        if (data[at + i] !== 0xff) Object.assign(written, { from: Math.min(written.from, i), to: i + 1 });
      }
      this.#work("program", address + at, old, PROGRAM_MS, written);
    }
  }

  erase(address) {
    this.#work("erase", address, Buffer.alloc(SECTOR, 0xff), ERASE_MS);
  }

  #work(op, address, bytes, ms, written = {}) {
    const from = now();
    const cut = this.cut?.during === op && this.cut.nth-- === 1 ? Math.min(this.cut.byte, bytes.length) : null;
    if (cut !== null) {
      fs.writeSync(this.fd, bytes, 0, cut, address);
      say({ ev: "power_cut", during: op, address, byte: cut });
      process.kill(process.pid, "SIGKILL");
      this.pause(1000); // the signal is on its way; nothing more happens on this board
    }
    for (let part = 0, size = bytes.length / PARTS; part < PARTS; part++) { // so that a kill may fall in between too
      const until = from + (ms * (part + 1)) / PARTS;
      if (ms < SPIN_MS) while (now() < until);
      else this.pause(until - now());
      fs.writeSync(this.fd, bytes, part * size, size, address + part * size);
    }
    this.blocked(from, from + ms); // not what the host took beyond: the board would have been awake again
    say({ ev: "flash", op, address, size: bytes.length, ...written });
  }
}
