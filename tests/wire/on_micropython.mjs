// Runs a MicroPython script beside the firmware's sos_wire: node on_micropython.mjs INTERPRETER WIRE_FOLDER FOLDER SCRIPT
// Memory is collected only between calls from here, so a script may have several parts, divided by lines of "# ---".
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [interpreter, wire, folder, script] = process.argv.slice(2);
const { loadMicroPython } = await import(pathToFileURL(interpreter).href);
const python = await loadMicroPython({ stdout: (line) => console.log(line), linebuffer: true });
python.FS.mkdir("/board");
python.FS.mkdir("/board/sos_wire");
const copy = (from, to) => {
  for (const name of fs.readdirSync(from)) {
    if (name.endsWith(".py") || name.endsWith(".json")) python.FS.writeFile(`${to}/${name}`, fs.readFileSync(path.join(from, name)));
  }
};
copy(wire, "/board/sos_wire");
copy(folder, "/board");
python.runPython("import sys; sys.path.insert(0, '/board')");
for (const part of fs.readFileSync(script, "utf8").split("\n# ---\n")) {
  python.runPython(part);
  python.runPython("import gc\ngc.collect()");
}
