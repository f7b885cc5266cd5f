// What the Firefox Profiler's own code reads in a profile, compared with the recording's JSON: the tracks, each slow poll as a marker
// where it was, its fields and its stack, and the weights of the call tree. Arguments: the profile, the JSON, the folder of packages.
"use strict";
const assert = require("assert");
const { execFileSync } = require("child_process");
const fs = require("fs");
const path = require("path");

const [file, json, packages] = process.argv.slice(2);
const program = path.join(packages, "@firefox-devtools/profiler-cli/dist/profiler-cli.js");
const options = { encoding: "utf8", timeout: 60000, maxBuffer: 1 << 28, stdio: ["ignore", "pipe", "inherit"] };
const run = (...words) => execFileSync(process.execPath, [program, ...words, "--session", "ours"], options);
const ask = (...words) => JSON.parse(run(...words, "--json"));

run("load", file);
try {
  const { runs } = JSON.parse(fs.readFileSync(json, "utf8"));
  const { processes } = ask("profile", "info", "--all");
  assert.strictEqual(processes.length, runs.length, "a process a run");
  const near = (is, was, what) => assert(Math.abs(is - was) < 0.001, `${what}: ${is} and ${was}`);
  let [markers, threads] = [0, 0];
  // Processes are listed by what they used: their numbers are those of the runs.
  for (const shown of processes) {
    const of = runs[Number(shown.pid) - 1];
    assert(shown.name.startsWith(of.group), `${shown.name} is of ${of.group}`);
    const polls = [...of.slow_polls, ...of.stalls_open];
    let left = [...polls];
    for (const { threadHandle, name } of shown.threads) {
      threads += 1;
      const here = ask("thread", "markers", "--list", "--limit", "0", "--thread", threadHandle).flatMarkers ?? [];
      let weight = 0;
      for (const marker of here) {
        const at = left.findIndex((slow) => Math.abs(slow.start_ns / 1e6 - (marker.start - shown.startTime)) < 0.001);
        assert(at >= 0, `${JSON.stringify(marker)} is a slow poll`);
        const [slow] = left.splice(at, 1);
        near(marker.duration, slow.duration_ns / 1e6, "how long it took");
        assert.strictEqual(name, slow.worker === null ? "not a worker" : `worker ${slow.worker}`);
        weight += slow.duration_ns / 1e6;
        const info = ask("marker", "info", marker.handle);
        assert.strictEqual(info.category.name ?? info.category, slow.cause ?? "cause not known");
        const field = (key) => info.fields.find((of) => of.key === key)?.value ?? null;
        assert.strictEqual(field("line"), slow.places[0]?.line ?? null);
        assert.strictEqual(field("call"), slow.places[0]?.syscall?.text ?? null);
        const frames = of.stacks[slow.places[0]?.stack] ?? [];
        const shownFrames = JSON.stringify(ask("marker", "stack", marker.handle));
        for (const frame of frames) assert(shownFrames.includes(JSON.stringify(frame.function).slice(1, -1)), frame.function);
        markers += 1;
      }
      const tree = here.length > 0 ? ask("thread", "samples-top-down", "--thread", threadHandle).regularCallTree : null;
      if (tree) near(tree.totalSamples, weight, "the weight of the call tree");
    }
    assert.deepStrictEqual(left, [], "every slow poll has a marker");
  }
  assert(markers > 0, "there are slow polls");
  console.log(`ok: the Firefox Profiler: ${threads} tracks, ${markers} markers`);
} finally {
  run("stop");
}
