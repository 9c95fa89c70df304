"use strict";
// Sorting by a click on a column's head: numbers descending first, text ascending first.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const number = head.classList.contains("n");
      const up = head.ariaSort ? head.ariaSort === "descending" : !number;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.ariaSort = up ? "ascending" : "descending";
      const key = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent;
      const value = (row) => (number ? Number(key(row)) : key(row));
      const less = (a, b) => (number ? (isNaN(a) ? 1 : isNaN(b) ? -1 : up ? a - b : b - a) : (up ? 1 : -1) * a.localeCompare(b));
      body.append(...[...body.rows].sort((a, b) => less(value(a), value(b))));
    });
  });
}
// A read-out under the pointer: the points are those of the paths, so no value is stored twice.
const three = (v) => (Math.abs(v) >= 99.95 ? v.toFixed(0) : String(+v.toFixed(Math.abs(v) < 9.995 ? 2 : 1)));
const scaled = (v, units, plain) => {
  if (!v) return "0";
  for (const [by, unit] of units) if (Math.abs(v) >= by * 0.9995) return three(v / by) + unit;
  return three(v) + plain;
};
const formats = {
  number: (v) => scaled(v, [[1e9, "G"], [1e6, "M"], [1e3, "k"]], ""),
  size: (v) => scaled(v, [[2 ** 30, " GiB"], [2 ** 20, " MiB"], [2 ** 10, " KiB"]], " B"),
  time: (v) => scaled(v, [[1e9, " s"], [1e6, " ms"], [1e3, " µs"]], " ns"),
  percent: (v) => three(v * 100) + " %",
  ratio: (v) => v.toFixed(2) + "x",
};
const [LEFT, RIGHT, TOP, BOTTOM] = [54, 10, 8, 24];
for (const chart of document.querySelectorAll("svg[data-high]")) {
  const [, , width, height] = chart.viewBox.baseVal ? [0, 0, chart.viewBox.baseVal.width, chart.viewBox.baseVal.height] : [];
  const [xHigh, yHigh] = chart.dataset.high.split(" ").map(Number), [x, y] = chart.dataset.format.split(" ");
  const curves = [...chart.querySelectorAll("path.line")].map((path) => ({
    name: path.dataset.name,
    points: path.getAttribute("d").slice(1).split("L").map((p) => p.split(" ").map(Number)),
  }));
  const cross = document.createElementNS("http://www.w3.org/2000/svg", "line"), out = chart.parentNode.querySelector("output");
  cross.setAttribute("class", "cross"); cross.setAttribute("y1", TOP); cross.setAttribute("y2", height - BOTTOM);
  chart.addEventListener("pointermove", (event) => {
    const box = chart.getBoundingClientRect(), at = ((event.clientX - box.left) / box.width) * width;
    if (at < LEFT || at > width - RIGHT) return;
    cross.setAttribute("x1", at); cross.setAttribute("x2", at); chart.append(cross);
    const time = formats[x](((at - LEFT) / (width - LEFT - RIGHT)) * xHigh);
    const said = curves.map(({ name, points }) => {
      const near = points.reduce((a, b) => (Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a));
      return name + " " + formats[y](((height - BOTTOM - near[1]) / (height - TOP - BOTTOM)) * yHigh);
    });
    out.textContent = time + ": " + said.join(", ");
  });
  chart.addEventListener("pointerleave", () => { cross.remove(); out.textContent = ""; });
}
