// The interpreter's prompt on the USB port: friendly, raw, and what the host of an event-driven REPL has to do itself.
const CTRL_A = 0x01;
const CTRL_C = 0x03;
const CTRL_D = 0x04;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const RAW_PROMPT = "raw REPL; CTRL-B to exit\r\n>";
const FRIENDLY_PROMPT = '\r\nType "help()" for more information.\r\n>>> ';
const RAW_PASTE = [0x05, 0x41, 0x01]; // asks whether raw-paste mode is there; answered with "R\0": known, not offered

export class Repl {
  // board: whose USB port it speaks on. restart(): a soft reset from the friendly prompt, where main.py runs again.
  constructor(mp, board, restart) {
    Object.assign(this, { mp, board, restart });
    this.raw = false;
    this.empty = true; // nothing typed yet into the raw prompt
    this.asked = 0; // how much of RAW_PASTE has come
    this.tail = "";
    this.muted = false;
  }

  open() {
    this.mp.replInit();
  }

  // What the interpreter prints goes to the port; the prompts tell which mode it is in.
  printed(byte) {
    if (this.muted) return;
    if (byte === LINE_FEED && !this.tail.endsWith("\r")) this.printed(CARRIAGE_RETURN); // as a board's print does
    this.board.usbOut.push(Buffer.from([byte]));
    this.tail = (this.tail + String.fromCharCode(byte)).slice(-FRIENDLY_PROMPT.length);
    if (this.tail.endsWith(RAW_PROMPT)) this.raw = this.empty = true;
    if (this.tail === FRIENDLY_PROMPT) this.raw = false;
  }

  // Take everything that was typed. Returns whether there was anything.
  turn() {
    const queue = this.board.usbIn;
    const any = queue.length > 0;
    while (queue.length) this.#type(queue.shift());
    return any;
  }

  #type(char) {
    if (this.raw && this.empty && char === RAW_PASTE[this.asked]) {
      if (++this.asked < RAW_PASTE.length) return;
      this.asked = 0;
      this.board.usbOut.push(Buffer.from("R\0", "latin1"));
      return;
    }
    this.asked = 0;
    if (this.raw) this.empty = char === CTRL_C || char === CTRL_D;
    this.board.running = char === CTRL_D || char === CARRIAGE_RETURN;
    const ended = this.mp.replProcessChar(char);
    this.board.running = false;
    if (ended) this.#softReset();
  }

  #softReset() {
    this.board.usbOut.push(Buffer.from("MPY: soft reboot\r\n"));
    if (!this.raw) {
      this.restart();
      return;
    }
    this.muted = true; // the friendly banner that comes first is not for the other side, which is in raw mode
    this.mp.replInit();
    this.muted = false;
    this.mp.replProcessChar(CTRL_A);
  }
}
