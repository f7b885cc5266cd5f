"use strict";
(() => {
  // Tables: a heading sorts by its column; numbers by what they stand for.
  const keyOf = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.key === undefined ? null : Number(cell.dataset.key);
  };
  const compare = (column, sign) => (a, b) => {
    const [x, y] = [keyOf(a, column), keyOf(b, column)];
    if (x !== null && y !== null) return sign * (x - y);
    if (x !== null || y !== null) return x === null ? 1 : -1;
    return sign * a.cells[column].textContent.localeCompare(b.cells[column].textContent);
  };
  for (const table of document.querySelectorAll("table")) {
    const headings = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    // A row that says more of the one before goes where that goes.
    const rows = [...body.rows].filter((row) => !row.classList.contains("more"));
    if (rows.length < 2) continue;
    const more = new Map(rows.map((row) => [row, row.nextElementSibling]).filter(([, next]) => next && next.classList.contains("more")));
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = heading.textContent;
      button.title = "Sort by this column";
      heading.replaceChildren(button);
      button.addEventListener("click", () => {
        const first = heading.classList.contains("n") ? "descending" : "ascending";
        const second = first === "ascending" ? "descending" : "ascending";
        const order = heading.getAttribute("aria-sort") === first ? second : first;
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", order);
        rows.sort(compare(column, order === "ascending" ? 1 : -1));
        body.append(...rows.flatMap((row) => (more.has(row) ? [row, more.get(row)] : [row])));
      });
    });
  }

  // Paper has no folds; a browser that does not know how a style opens them is told.
  const opened = [];
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details:not([open])")) {
      details.open = true;
      opened.push(details);
    }
  });
  addEventListener("afterprint", () => opened.splice(0).forEach((details) => { details.open = false; }));

  // A link to a section that is folded unfolds it.
  const unfold = () => {
    const section = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const details = section && (section.closest("details") || section.querySelector(":scope > details"));
    if (details) details.open = true;
  };
  addEventListener("hashchange", unfold);
  unfold();

  // Spinners: when a run's loop was not free, in milliseconds since its start.
  const stops = (run) => {
    const slow = run.slow.map(([start, ns]) => [start / 1e6, (start + ns) / 1e6]);
    const starts = run.starts.map((start) => start / 1e6);
    starts.forEach((from, i) => {
      const to = i + 1 < starts.length ? starts[i + 1] : run.elapsed_ns / 1e6;
      const worst = run.lags[i] ? run.lags[i] / 1e6 : 0;
      if (worst > 0 && !slow.some(([start, end]) => start < to && end > from)) slow.push([from, Math.min(from + worst, to)]);
    });
    slow.sort((a, b) => a[0] - b[0]);
    const joined = [];
    for (const [from, to] of slow) {
      const last = joined[joined.length - 1];
      if (last && from <= last[1]) last[1] = Math.max(last[1], to);
      else joined.push([from, to]);
    }
    return joined;
  };
  // How much of the time until a moment was free, and whether that moment is.
  const freeUntil = (joined, ms) => {
    let held = 0;
    for (const [from, to] of joined) {
      if (from >= ms) break;
      held += Math.min(to, ms) - from;
      if (to > ms) return [ms - held, false];
    }
    return [ms - held, true];
  };
  const figures = [...document.querySelectorAll(".spin")];
  const button = document.getElementById("replay");
  if (!figures.length || !button) return;
  let drawn = null;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const spinner = (figure) => {
    const run = drawn.runs[Number(figure.dataset.run)];
    return run && { figure, end: run.elapsed_ns / 1e6, stops: stops(run) };
  };
  const show = ({ figure, end, stops }, ms) => {
    const now = Math.min(ms, end);
    const [free, isFree] = freeUntil(stops, now);
    figure.querySelector(".hand").setAttribute("transform", `rotate(${((free * 0.36) % 360).toFixed(1)})`);
    const share = now > 0 ? Math.round((100 * free) / now) : 100;
    const state = ms >= end ? "done" : isFree ? "turning" : "standing still";
    figure.querySelector("output").textContent = `${(now / 1000).toFixed(2)} s: ${state}, free ${share} %`;
  };
  let frame = 0;
  button.addEventListener("click", () => {
    drawn = drawn || JSON.parse(document.getElementById("drawn").textContent);
    const spinners = figures.map(spinner).filter(Boolean);
    const end = Math.max(...spinners.map((one) => one.end));
    cancelAnimationFrame(frame);
    if (still) {
      spinners.forEach((one) => show(one, end));
      return;
    }
    const begin = performance.now();
    const step = (now) => {
      const ms = Math.max(0, now - begin);
      spinners.forEach((one) => show(one, ms));
      if (ms < end) frame = requestAnimationFrame(step);
    };
    frame = requestAnimationFrame(step);
  });
  if (still) button.textContent = "Show how free each loop was (no motion, as you prefer)";
  figures.forEach((figure) => { figure.hidden = false; });
  button.parentElement.hidden = false;
})();
