"use strict";
// Tables that a click or a key on a heading sorts: figures by their value, an absent one last, words by the alphabet.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    heading.ariaSort = "none";
    button.addEventListener("click", () => {
      const sign = heading.ariaSort === "descending" ? 1 : -1;
      headings.forEach((other) => { other.ariaSort = "none"; });
      heading.ariaSort = sign < 0 ? "descending" : "ascending";
      const text = (row) => row.cells[column].textContent;
      const order = (a, b) => {
        const [x, y] = [a, b].map((row) => text(row) === "inf" ? Infinity : parseFloat(text(row)));
        if (isNaN(x) && isNaN(y)) return sign * text(a).localeCompare(text(b));
        return isNaN(x) ? 1 : isNaN(y) ? -1 : x === y ? 0 : sign * (x < y ? -1 : 1);
      };
      body.append(...[...body.rows].sort(order));
    });
  });
}
// Plots are pictures to the browser: their texts and lines follow the page's colours by hand.
if (window.Bokeh) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paint = (isDark) => {
    const [ink, line] = isDark ? ["#e8e8e8", "#45484d"] : ["#1b1b1b", "#d0d0d0"];
    const colours = {
      axis_label_text_color: ink, major_label_text_color: ink, axis_line_color: ink, major_tick_line_color: ink,
      minor_tick_line_color: ink, grid_line_color: line, label_text_color: ink,
    };
    for (const shown of Bokeh.documents) {
      for (const model of shown.all_models) {
        const known = Object.entries(colours).filter(([name]) => name in model.properties);
        if (known.length) model.setv(Object.fromEntries(known));
      }
    }
  };
  // What cannot be drawn is a picture, which print has in any case.
  const started = setInterval(() => {
    if (!Bokeh.documents.length) return;
    clearInterval(started);
    paint(dark.matches);
  }, 20);
  dark.addEventListener("change", () => paint(dark.matches));
} else {
  document.documentElement.classList.add("static");
}
