// What pprof-format reads in a profile, compared with the recording's JSON: slow polls and their time, by group, cause and call, and
// the innermost frames of their stacks. Arguments: the profile, the JSON, the folder of packages.
"use strict";
const assert = require("assert");
const fs = require("fs");
const path = require("path");
const zlib = require("zlib");

const [file, json, packages] = process.argv.slice(2);
const { Profile } = require(path.join(packages, "pprof-format"));

const profile = Profile.decode(zlib.gunzipSync(fs.readFileSync(file)));
const text = (number) => profile.stringTable.strings[Number(number)];
assert.deepStrictEqual(profile.sampleType.map((type) => `${text(type.type)}/${text(type.unit)}`), ["slow_polls/count", "time/nanoseconds"]);

const functions = new Map(profile.function.map((of) => [String(of.id), of]));
const locations = new Map(profile.location.map((of) => [String(of.id), of]));
const add = (sums, key, values) => {
  const before = sums.get(key) ?? [0n, 0n];
  sums.set(key, before.map((value, at) => value + BigInt(values[at])));
};
const read = new Map();
const leaves = new Set();
for (const sample of profile.sample) {
  const labels = Object.fromEntries(sample.label.map((label) => [text(label.key), text(label.str)]));
  add(read, `${labels.group} ${labels.cause ?? null}`, sample.value);
  const [leaf] = sample.locationId.map((id) => functions.get(String(locations.get(String(id)).line[0].functionId)));
  leaves.add(text(leaf.name));
}

const { runs } = JSON.parse(fs.readFileSync(json, "utf8"));
const known = new Map();
for (const run of runs) {
  for (const slow of [...run.slow_polls, ...run.stalls_open]) {
    add(known, `${run.group} ${slow.cause}`, [1, slow.duration_ns]);
    const place = slow.places[0];
    if (place?.syscall) assert(leaves.has(place.syscall.name), `${place.syscall.name} is innermost`);
  }
}
assert(known.size > 0, "there are slow polls");
assert.deepStrictEqual(read, known);
console.log(`ok: pprof-format: ${profile.sample.length} samples, ${profile.location.length} frames`);
