// Runs the pole on a real MicroPython. Arguments: the interpreter's module, a folder that becomes its file system, and
// the steps, each entered from top level (memory is collected there only): Python source, one a line of standard input.
// After each step the memory in use is printed on a line of its own as "heap N".
import fs from "node:fs";
import path from "node:path";

const [, , module, folder] = process.argv;
const { loadMicroPython } = await import(module);
const mp = await loadMicroPython({ heapsize: 4 * 1024 * 1024, linebuffer: true, stdout: (line) => console.log(line) });
const copy = (from, to) => {
  for (const name of fs.readdirSync(from)) {
    const [source, target] = [path.join(from, name), `${to}/${name}`];
    if (fs.statSync(source).isDirectory()) {
      mp.FS.mkdir(target);
      copy(source, target);
    } else mp.FS.writeFile(target, fs.readFileSync(source));
  }
};
copy(folder, "");
mp.runPython("import sys, gc\nsys.path.insert(0, '/')");
for (const step of fs.readFileSync(0, "utf8").split("\n").filter(Boolean)) {
  mp.runPython(step);
  mp.runPython("gc.collect()");
  mp.runPython("print('heap', gc.mem_alloc())");
}
