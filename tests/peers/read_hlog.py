"""What PyPI's hdrhistogram reads in an interval log, compared with the recording's JSON. Arguments: the log, the JSON."""

import json
import math
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

HOUR_NS = 3_600_000_000_000
MEASURES = ["polls", "schedule_latency", "lag", "lag_raw", "response_time", "write_latency", "busy_stretches"]


def read(log):
    """All intervals of each tag, put together; untagged ones are None's."""
    sums = {}
    reader = HistogramLogReader(log, HdrHistogram(1, HOUR_NS, 3))
    lines = 0
    while (interval := reader.get_next_interval_histogram()) is not None:
        lines += 1
        tag = interval.get_tag()
        if tag in sums:
            sums[tag].add(interval)
        else:
            sums[tag] = interval
    return sums, lines


def at_fraction(histogram, fraction):
    """The value at or below which the fraction lies. The package's own percentiles round the rank to the nearest."""
    rank = max(1, math.ceil(fraction * histogram.get_total_count()))
    for item in histogram.get_recorded_iterator():
        if item.total_count_to_this_value >= rank:
            return histogram.get_highest_equivalent_value(item.value_iterated_to)
    raise AssertionError("counts add up to less than their sum")


def compare(tag, histogram, dist):
    """Counts and percentiles are the same; the exact maximum lies in the last bucket."""
    assert histogram.get_total_count() == dist["count"], (tag, histogram.get_total_count(), dist["count"])
    if dist["count"] == 0:
        return
    for fraction, key in [(0.5, "p50_ns"), (0.9, "p90_ns"), (0.99, "p99_ns"), (0.999, "p999_ns")]:
        value = at_fraction(histogram, fraction)
        assert value == dist[key], (tag, key, value, dist[key])
    assert histogram.get_max_value() >= dist["max_ns"], (tag, histogram.get_max_value(), dist["max_ns"])


def main(log, recording):
    with open(recording, encoding="utf-8") as file:
        runs = json.load(file)["runs"]
    sums, lines = read(log)
    compared = 0
    for run in runs:
        dists = {measure: run[measure] for measure in MEASURES if run[measure]}
        dists.update({f"site.{site['spawned_at']}": site["polls"] for site in run["sites"]})
        for measure, dist in dists.items():
            compare(f"{run['group']}.{measure}", sums[f"{run['group']}.{measure}"], dist)
            compared += 1
    assert sums[None].get_total_count() == sum(run["polls"]["count"] for run in runs)
    print(f"ok: hdrhistogram for Python: {lines} lines, {compared} distributions")


if __name__ == "__main__":
    main(*sys.argv[1:])
