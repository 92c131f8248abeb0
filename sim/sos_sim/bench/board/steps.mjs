// Steps of the firmware's core without end, on the real MicroPython: node steps.mjs INTERPRETER CONFIG
// CONFIG (JSON): files ([path on the board, path here]), idle, framed (how many steps). Prints one line of JSON.
// Each chunk enters the interpreter from top level, because memory is collected only there.
import fs from "node:fs";

const IDLE_CHUNK = 1000; // steps an entry: two seconds, a beat or none
const FRAMED_CHUNK = 20; // some kilobytes of garbage each
const WATCHED = 5000; // idle steps whose every allocation is counted
const WARM_UP = 2000; // idle steps: until what was under way has come to rest
const WARM_UP_FRAMED = 5000; // ten presses: whatever is made once has been made, and lists are as long as they get
const MOMENTS = 30;
const STEPS_A_MOMENT = 50; // 100 ms

const [interpreter, text] = process.argv.slice(2);
const config = JSON.parse(text);
const { loadMicroPython } = await import(interpreter);
const mp = await loadMicroPython({ heapsize: 16 * 1024, stdout: (line) => console.error(line), linebuffer: true });
for (const [path, source] of config.files) {
  const folder = path.slice(0, path.lastIndexOf("/"));
  if (folder && !mp.FS.analyzePath(folder).exists) mp.FS.mkdir(folder);
  mp.FS.writeFile(path, fs.readFileSync(source));
}
mp.runPython("import sys; sys.path.insert(0, '/'); import steps");
const steps = mp.pyimport("steps");
const call = Object.fromEntries(["idle", "framed", "watched", "collect", "used", "presses"].map((name) => [name, steps[name]]));

async function run(work, count) {
  const chunk = work === call.idle ? IDLE_CHUNK : FRAMED_CHUNK;
  for (let done = 0; done < count; done += chunk) {
    work(Math.min(chunk, count - done));
    call.collect();
    if (done % (50 * chunk) === 0) await new Promise(setImmediate); // JavaScript's own clean-up of proxies runs there
  }
}

// The least that is in use within one beat and the next: a frame that is just under way is no growth.
async function used() {
  let least = Infinity;
  for (let moment = 0; moment < MOMENTS; moment++) {
    await run(call.idle, STEPS_A_MOMENT);
    least = Math.min(least, call.used());
  }
  return least;
}

await run(call.framed, WARM_UP_FRAMED);
await run(call.idle, WARM_UP);
const before = await used();
await run(call.idle, config.idle);
const afterIdle = await used();
const allocated = call.watched(Math.min(WATCHED, config.idle));
call.collect();
const beforeFramed = await used();
await run(call.framed, config.framed);
await run(call.idle, WARM_UP); // until what the last press left has come to rest
const afterFramed = await used();
console.log(JSON.stringify({ before, afterIdle, beforeFramed, afterFramed, allocated, presses: call.presses() }));
