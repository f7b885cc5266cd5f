// What hdr-histogram-js reads in an interval log, compared with the recording's JSON; and what it prints as percentile
// distributions, compared byte for byte. Arguments: the log, the JSON, the folder of polls.MODE.hgrm, the folder of packages.
"use strict";
const assert = require("assert");
const fs = require("fs");
const path = require("path");

const [log, json, folder, packages] = process.argv.slice(2);
const hdr = require(path.join(packages, "hdr-histogram-js"));

const sums = new Map();
let [last, intervals] = [0, 0];
const reader = new hdr.HistogramLogReader(fs.readFileSync(log, "utf8"), 64);
for (let read; (read = reader.nextIntervalHistogram()) !== null; intervals++) {
  assert(read.startTimeStampMsec >= last, "lines are sorted by their starts");
  last = read.startTimeStampMsec;
  if (sums.has(read.tag)) sums.get(read.tag).add(read);
  else sums.set(read.tag, read);
}

// Rounds share a tag: those of a mode are compared only where there is one.
const { runs } = JSON.parse(fs.readFileSync(json, "utf8"));
const measures = ["polls", "schedule_latency", "lag", "lag_raw", "response_time", "write_latency", "busy_stretches"];
let compared = 0;
const compare = (tag, dist) => {
  const read = sums.get(tag);
  assert(read, `${tag} is in the log`);
  assert.strictEqual(read.totalCount, dist.count, `${tag}: count`);
  for (const [percentile, key] of [[50, "p50_ns"], [90, "p90_ns"], [99, "p99_ns"], [99.9, "p999_ns"]]) {
    if (dist.count > 0) assert.strictEqual(read.getValueAtPercentile(percentile), dist[key], `${tag}: ${key}`);
  }
  if (dist.count > 0) assert(read.maxValue >= dist.max_ns, `${tag}: max`);
  compared += 1;
};
for (const run of runs) {
  measures.filter((measure) => run[measure]).forEach((measure) => compare(`${run.group}.${measure}`, run[measure]));
  run.sites.forEach((site) => compare(`${run.group}.site.${site.spawned_at}`, site.polls));
  const printed = sums.get(`${run.group}.polls`).outputPercentileDistribution(5, 1e6);
  assert.strictEqual(fs.readFileSync(path.join(folder, `polls.${run.group}.hgrm`), "utf8"), printed, `${run.group}: hgrm`);
}
const all = runs.reduce((sum, run) => sum + run.polls.count, 0);
assert.strictEqual(sums.get("NO TAG").totalCount, all, "untagged lines are all polls");
console.log(`ok: hdr-histogram-js: ${intervals} lines, ${compared} distributions, ${runs.length} .hgrm byte for byte`);
