"use strict";
(() => {
  // Flame graphs: a box as wide as the graph, boxes found by name, arrow keys from box to box.
  const SLACK = 1e-3;
  const withoutArguments = (text) => {
    let [before, now] = [null, text];
    while (before !== now) [before, now] = [now, now.replace(/<[^<>]*>/g, "")];
    return now;
  };
  const number = (box, name) => parseFloat(box.getAttribute(name));

  const live = (section, controls) => {
    const [find, unzoom, found] = ["input", "button", "output"].map((name) => controls.querySelector(name));
    const graphs = [...section.querySelectorAll("svg.flame")].map((root) => {
      const boxes = [...root.children].map((element) => {
        const title = element.querySelector("title").textContent;
        const text = `${element.querySelector("div").textContent}\n${withoutArguments(title)}`.toLowerCase();
        const [x, y, width] = ["x", "y", "width"].map((name) => number(element, name));
        return { element, title, text, x, y, width };
      });
      return { root, boxes, says: root.nextElementSibling, zoomed: null };
    });
    const isWithin = (box, of) => box.x >= of.x - SLACK && box.x + box.width <= of.x + of.width + SLACK;

    // The box that is zoomed and those that led to it are as wide as the graph, its own keep their shares, the others are gone.
    const place = (graph) => {
      const { zoomed } = graph;
      for (const box of graph.boxes) {
        const { element } = box;
        const isAbove = zoomed && box.y < zoomed.y && isWithin(zoomed, box);
        const isShown = !zoomed || isAbove || (box.y >= zoomed.y && isWithin(box, zoomed));
        const [from, width] = !zoomed ? [box.x, box.width]
          : isAbove ? [0, 100] : [((box.x - zoomed.x) / zoomed.width) * 100, (box.width / zoomed.width) * 100];
        element.setAttribute("display", isShown ? "inline" : "none");
        element.setAttribute("x", `${from}%`);
        element.setAttribute("width", `${width}%`);
        element.classList.toggle("above", Boolean(isAbove));
      }
      unzoom.disabled = graphs.every((one) => !one.zoomed);
    };
    const zoom = (graph, box) => {
      graph.zoomed = box && box.width < 100 - SLACK && box !== graph.zoomed ? box : null;
      place(graph);
    };

    // One box of each graph is a stop of the tab key; the arrow keys go on from there.
    const focus = (graph, box) => {
      graph.boxes.forEach((one) => one.element.setAttribute("tabindex", one === box ? "0" : "-1"));
      box.element.focus();
    };
    const shown = (graph) => graph.boxes.filter((box) => box.element.getAttribute("display") !== "none");
    const next = (graph, from, key) => {
      const of = (step) => shown(graph).filter((box) => Math.abs(box.y - from.y - step * number(from.element, "height")) < 1);
      if (key === "ArrowUp") return of(-1).find((box) => isWithin(from, box));
      if (key === "ArrowDown") return of(1).find((box) => isWithin(box, from));
      const row = of(0);
      return row[row.indexOf(from) + (key === "ArrowRight" ? 1 : -1)];
    };
    const press = (graph, box) => (event) => {
      if (event.key === "Enter" || event.key === " ") zoom(graph, box);
      else if (event.key === "Escape") zoom(graph, null);
      else if (event.key.startsWith("Arrow")) {
        const to = next(graph, box, event.key);
        if (to) focus(graph, to);
      } else return;
      event.preventDefault();
    };
    const tell = (graph, box) => () => { graph.says.textContent = box.title; };

    // Of boxes that are found within one another the outermost counts.
    const search = () => {
      const wanted = find.value.trim().toLowerCase();
      const said = graphs.map(({ root, boxes }) => {
        const hits = wanted ? boxes.filter((box) => box.text.includes(wanted)) : [];
        root.classList.toggle("searched", wanted !== "");
        boxes.forEach((box) => box.element.classList.toggle("hit", hits.includes(box)));
        const outermost = hits.filter((box) => !hits.some((other) => other.y < box.y && isWithin(box, other)));
        return [hits.length, outermost.reduce((sum, box) => sum + box.width, 0)];
      });
      const share = (width) => `${Number(width.toFixed(1))} %`;
      const total = said.reduce((sum, [hits]) => sum + hits, 0);
      const widths = said.map(([, width]) => share(width)).join(" and ");
      found.textContent = !wanted ? "" : total === 0 ? "nothing found" : `${total} found, ${widths} of the time`;
    };

    for (const graph of graphs) {
      graph.boxes.forEach((box, index) => {
        const { element } = box;
        element.setAttribute("role", "button");
        element.setAttribute("tabindex", index === 0 ? "0" : "-1");
        element.addEventListener("click", () => zoom(graph, box));
        element.addEventListener("keydown", press(graph, box));
        element.addEventListener("focus", tell(graph, box));
        element.addEventListener("pointerenter", tell(graph, box));
      });
    }
    unzoom.addEventListener("click", () => graphs.forEach((graph) => zoom(graph, null)));
    find.addEventListener("input", search);
    controls.hidden = false;
  };

  for (const section of document.querySelectorAll("section")) {
    const controls = section.querySelector(".controls");
    if (controls && section.querySelector("svg.flame")) live(section, controls);
  }
})();
