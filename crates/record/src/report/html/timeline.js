"use strict";
(() => {
  // The timeline that zooms, in the place of the one that stands: which is still there for paper.
  const section = document.getElementById("timeline");
  const controls = section && section.querySelector(".controls");
  if (!controls) return;
  const drawn = JSON.parse(document.getElementById("drawn").textContent);
  const SHORTEST = 1e-5;
  const HEIGHT = 210;
  const LOWEST_NS = 1e3;
  const placeOf = (at) => (at === null ? "a place that is not known" : drawn.places[at]);
  const greatest = (values) => values.reduce((most, value) => Math.max(most, value || 0), 0);
  const end = greatest(drawn.runs.map((run) => run.elapsed_ns)) / 1e9 || 1;
  const slowOf = (run) => [...run.slow, ...run.open];
  const worst = greatest(drawn.runs.map((run) => greatest([
    run.threshold_ns, 1e7, ...slowOf(run).map(([, ns]) => ns), ...run.others, ...run.lags,
  ])));
  const decades = [LOWEST_NS];
  while (decades[decades.length - 1] < worst) decades.push(decades[decades.length - 1] * 10);

  const duration = (ns) => {
    const [size, unit] = [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]].find(([size]) => ns >= size) || [1, "ns"];
    return `${Number((ns / size).toPrecision(3))} ${unit}`;
  };
  const digits = (s, step) => s.toFixed(Math.max(0, Math.min(6, Math.ceil(-Math.log10(step)))));
  const seconds = (s, step) => `${digits(s, step)} s`;

  // All charts show the same time.
  const charts = [];
  let view = [0, end];
  const range = document.getElementById("range");
  const zoom = (from, to) => {
    const length = Math.min(end, Math.max(SHORTEST, to - from));
    const start = Math.min(Math.max(0, from), end - length);
    view = [start, start + length];
    charts.forEach((chart) => chart.setScale("x", { min: view[0], max: view[1] }));
    range.textContent = `${seconds(view[0], length / 1e3)} to ${seconds(view[1], length / 1e3)}`;
  };
  const follow = (chart, key) => {
    const { min, max } = chart.scales.x;
    if (key === "x" && (min !== view[0] || max !== view[1])) zoom(min, max);
  };

  // A level line as long as its moment, and none where nothing ended: the library's own steps run on into such gaps.
  const steps = (chart, series, first, last) => {
    const [starts, values] = [chart.data[0], chart.data[series]];
    const { left, top, width, height } = chart.bbox;
    const across = (s) => Math.max(left - 9, Math.min(left + width + 9, chart.valToPos(s, "x", true)));
    const [stroke, fill] = [new Path2D(), new Path2D()];
    let isOpen = false;
    for (let i = Math.max(0, first - 1); i <= last && i + 1 < starts.length; i += 1) {
      if (values[i] === null) {
        isOpen = false;
        continue;
      }
      const [from, to, y] = [across(starts[i]), across(starts[i + 1]), chart.valToPos(Math.max(LOWEST_NS, values[i]), "y", true)];
      if (isOpen) stroke.lineTo(from, y);
      else stroke.moveTo(from, y);
      stroke.lineTo(to, y);
      fill.rect(from, y, to - from, top + height - y);
      isOpen = true;
    }
    return { stroke, fill, clip: null, band: null, gaps: null, flags: 1 };
  };

  // When polls were, from start to end: slow ones, and of each interval the longest other that ended in it.
  const spansOf = (run, length) => {
    const spans = slowOf(run).map(([start, ns]) => [start / 1e9, (start + ns) / 1e9, ns]);
    run.starts.forEach((start, i) => {
      const [ns, to] = [run.others[i], i + 1 < run.starts.length ? run.starts[i + 1] / 1e9 : length];
      if (ns) spans.push([Math.min(start / 1e9, Math.max(0, to - ns / 1e9)), to, ns]);
    });
    return spans.filter(([from, to]) => to > from);
  };

  // Both lines have the same moments: wherever one of them may change.
  const columns = (run) => {
    const length = Math.max(run.elapsed_ns, ...run.starts) / 1e9;
    const spans = spansOf(run, length).sort((a, b) => a[2] - b[2]);
    const edges = [0, length, ...spans.flatMap(([from, to]) => [from, to]), ...run.starts.map((start) => start / 1e9)];
    const starts = [...new Set(edges)].sort((a, b) => a - b);
    const place = new Map(starts.map((start, i) => [start, i]));
    const [polls, lags] = [starts.map(() => null), starts.map(() => null)];
    // The longest last: at each moment it is what was under way.
    for (const [from, to, ns] of spans) polls.fill(ns, place.get(from), place.get(to));
    run.starts.forEach((start, i) => {
      const to = i + 1 < run.starts.length ? run.starts[i + 1] / 1e9 : length;
      lags.fill(run.lags[i], place.get(start / 1e9), place.get(to));
    });
    return [starts, polls, lags];
  };

  const draw = (figure, run, title) => {
    const data = columns(run);
    const starts = data[0];
    const length = run.elapsed_ns / 1e9;
    const slow = slowOf(run).map(([start, ns, place]) => [start / 1e9, (start + ns) / 1e9, ns, place]);
    const heading = figure.querySelector(".mode");
    const colour = (name) => () => getComputedStyle(heading).getPropertyValue(name).trim();
    const font = "12px system-ui, sans-serif";
    const axis = { stroke: colour("--fg"), font, grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };

    const named = (label) => ({ label, labelFont: font, labelSize: 20, labelGap: 2 });

    // Behind the lines: when polls were slow, and from when on one is.
    const behind = (chart) => {
      const { ctx, bbox } = chart;
      const at = (value, scale) => chart.valToPos(value, scale, true);
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      ctx.fillStyle = colour("--slow")();
      for (const [from, to] of slow) {
        if (to < view[0] || from > view[1]) continue;
        const width = Math.max(1.5, at(to, "x") - at(from, "x"));
        ctx.globalAlpha = 0.13;
        ctx.fillRect(at(from, "x"), bbox.top, width, bbox.height);
        ctx.globalAlpha = 1;
        ctx.fillRect(at(from, "x"), bbox.top + bbox.height - 6 * devicePixelRatio, width, 6 * devicePixelRatio);
      }
      ctx.strokeStyle = colour("--dim")();
      ctx.setLineDash([2 * devicePixelRatio, 4 * devicePixelRatio]);
      ctx.lineWidth = devicePixelRatio;
      ctx.beginPath();
      ctx.moveTo(bbox.left, at(run.threshold_ns, "y"));
      ctx.lineTo(bbox.left + bbox.width, at(run.threshold_ns, "y"));
      ctx.stroke();
      ctx.restore();
    };

    const says = document.createElement("p");
    says.className = "readout dim";
    const tell = (chart) => {
      const { left } = chart.cursor;
      const s = left === undefined || left < 0 ? NaN : chart.posToVal(left, "x");
      const index = starts.findLastIndex((start) => start <= s);
      if (index < 0 || s > length) {
        says.textContent = "Point at the chart to read it.";
        return;
      }
      const value = (ns) => (ns === null || ns === undefined ? "—" : duration(ns));
      const words = [seconds(s, (view[1] - view[0]) / 1e3), `worst poll ${value(data[1][index])}`, `worst lag ${value(data[2][index])}`];
      const held = slow.find(([from, to]) => from <= s && s <= to);
      if (held) words.push(`a slow poll of ${duration(held[2])} at ${placeOf(held[3])}`);
      says.textContent = words.join(" · ");
    };

    const box = document.createElement("div");
    const round = document.createElement("p");
    round.className = "dim";
    round.textContent = run.round > 1 ? `round ${run.round}` : "";
    const all = document.createElement("div");
    all.className = "zoomed";
    all.append(round, box, says);
    figure.append(all);
    const chart = new uPlot({
      width: box.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      scales: {
        x: { time: false, range: (_, min, max) => [min, max] },
        y: { distr: 3, range: () => [LOWEST_NS, decades[decades.length - 1]] },
      },
      axes: [
        { ...axis, ...named(title), size: 30, space: 64, values: (_, splits) => splits.map((s) => digits(s, splits.length > 1 ? splits[1] - splits[0] : 1)) },
        { ...axis, ...named("duration, log scale"), size: 60, splits: () => decades, values: () => decades.map(duration), filter: (_, splits) => splits },
      ],
      series: [
        {},
        { stroke: colour("--c"), fill: () => `${colour("--c")()}33`, width: 2, paths: steps, points: { show: false } },
        { stroke: colour("--fg"), width: 1.25, dash: [6, 3], paths: steps, points: { show: false } },
      ],
      cursor: {
        y: false,
        points: { show: false },
        drag: { x: true, y: false, dist: 4 },
        sync: { key: "timeline", filters: { pub: (type) => type === "mousemove" || type === "mouseleave" } },
        bind: { dblclick: () => () => zoom(0, end) },
      },
      hooks: { drawAxes: [behind], setScale: [follow], setCursor: [tell] },
    }, data, box);
    chart.root.setAttribute("role", "img");
    chart.root.setAttribute("aria-label", figure.querySelector("svg").getAttribute("aria-label"));
    tell(chart);
    charts.push(chart);
    new ResizeObserver(() => {
      if (box.clientWidth > 0 && box.clientWidth !== chart.width) chart.setSize({ width: box.clientWidth, height: HEIGHT });
    }).observe(box);
  };

  for (const lanes of section.querySelectorAll(".lanes")) {
    const runs = lanes.dataset.runs.split(" ").map((index) => drawn.runs[Number(index)]);
    if (!runs.every((run) => run && run.starts.length > 0)) continue;
    lanes.classList.add("live");
    runs.forEach((run) => draw(lanes.querySelector("figure"), run, lanes.dataset.title));
  }
  if (!charts.length) return;
  section.classList.add("live");
  zoom(0, end);
  const moves = {
    in: ([from, to]) => [from + (to - from) / 4, to - (to - from) / 4],
    out: ([from, to]) => [from - (to - from) / 2, to + (to - from) / 2],
    earlier: ([from, to]) => [from - (to - from) / 2, to - (to - from) / 2],
    later: ([from, to]) => [from + (to - from) / 2, to + (to - from) / 2],
    whole: () => [0, end],
  };
  for (const button of controls.querySelectorAll("button")) {
    button.addEventListener("click", () => zoom(...moves[button.dataset.zoom](view)));
  }
  controls.hidden = false;
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach((chart) => chart.redraw()));
})();
