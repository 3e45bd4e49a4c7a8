/* Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE. */
"use strict";

// The report's behaviour: tables that sort and filter, figures that follow the
// choice of a metric, and light and dark. Text from data only ever becomes
// text, never markup.
(() => {
  const root = document.documentElement;

  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  const format = (value) => (value === null || value === undefined ? "-" : String(Number.isInteger(value) && Math.abs(value) < 1e9 ? value : Number(value.toPrecision(4))));
  const color = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();

  // ---- Light and dark ----------------------------------------------------

  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const onTheme = [];

  function themeChanged() {
    const button = document.getElementById("theme");
    if (button) {
      button.textContent = isDark() ? "Light" : "Dark";
      button.setAttribute("aria-label", isDark() ? "Use light colours" : "Use dark colours");
    }
    for (const follow of onTheme) follow();
  }

  function toggleTheme() {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem("bgqa-theme", root.dataset.theme);
    } catch {
      // A browser may refuse to store anything for files.
    }
    themeChanged();
  }

  // ---- Tables ------------------------------------------------------------

  function setUpTable(table) {
    const rows = [...table.tBodies[0].rows];
    const original = new Map(rows.map((row, i) => [row, i]));
    const tools = document.getElementById(table.dataset.tools);
    const heads = [...table.tHead.rows[0].cells];

    const key = (row, column) => {
      const cell = row.cells[column];
      const text = cell.dataset.value ?? cell.textContent.trim();
      const number = text === "" ? NaN : Number(text);
      return Number.isNaN(number) ? text : number;
    };
    // Numbers before words, what is empty last, however it is sorted.
    const compare = (a, b, sign) => {
      if (a === b) return 0;
      if (a === "") return 1;
      if (b === "") return -1;
      if (typeof a === "number" && typeof b === "number") return sign * (a - b);
      if (typeof a === "number") return -sign;
      if (typeof b === "number") return sign;
      return sign * a.localeCompare(b, undefined, { numeric: true });
    };
    heads.forEach((head, column) => {
      const button = head.querySelector("button");
      if (!button) return;
      button.addEventListener("click", () => {
        const first = head.classList.contains("number") ? "descending" : "ascending";
        const other = first === "descending" ? "ascending" : "descending";
        const order = head.getAttribute("aria-sort") === first ? other : first;
        for (const each of heads) each.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1;
        const keys = new Map(rows.map((row) => [row, key(row, column)]));
        rows.sort((a, b) => compare(keys.get(a), keys.get(b), sign) || original.get(a) - original.get(b));
        table.tBodies[0].append(...rows);
      });
    });
    if (!tools) return;
    const search = tools.querySelector("input[type=search]");
    const verdict = tools.querySelector("select");
    const count = tools.querySelector(".count");
    const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    const filter = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const fits =
          words.every((word) => texts.get(row).includes(word)) &&
          (!verdict || !verdict.value || row.dataset.verdict === verdict.value);
        row.hidden = !fits;
        shown += fits;
      }
      count.textContent = `${shown} of ${rows.length} rows`;
    };
    search.addEventListener("input", filter);
    verdict?.addEventListener("change", filter);
    filter();
  }

  async function copy(button) {
    const text = button.dataset.copy;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Without permission, as for files in some browsers: the old way.
      const area = element("textarea", { value: text, className: "sr" });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      button.focus();
    }
    const before = button.textContent;
    button.textContent = "copied";
    setTimeout(() => (button.textContent = before), 1200);
  }

  // ---- Figures -----------------------------------------------------------

  class Figure {
    constructor(view, target) {
      this.view = view;
      this.document = view.model.document;
      this.target = target;
      onTheme.push(() => this.paint());
      this.paint();
    }

    model(name) {
      return this.document.get_model_by_name(name);
    }

    fill(name, columns) {
      this.model(name).data = columns;
    }

    range(name, low, high) {
      const range = this.model(name);
      range.setv({ start: low, end: high, reset_start: low, reset_end: high });
    }

    label(axis, text) {
      this.model(`${axis}_label`).text = text;
    }

    bounds(metric, shown) {
      for (const side of ["low", "high"]) {
        const line = this.model(side);
        if (line) line.setv({ location: metric[side] ?? 0, visible: metric[side] !== null && shown });
      }
    }

    paint() {
      const [panel, soft, grid, line] = ["panel", "soft", "grid", "line"].map(color);
      for (const model of this.document._all_models.values()) {
        switch (model.type) {
          case "Figure":
            model.setv({ background_fill_color: panel, border_fill_color: panel, outline_line_color: line });
            break;
          case "LinearAxis":
          case "LogAxis":
          case "DatetimeAxis":
            model.setv({
              axis_label_text_color: soft,
              major_label_text_color: soft,
              axis_line_color: line,
              major_tick_line_color: line,
              minor_tick_line_color: null,
            });
            break;
          case "Grid":
            model.setv({ grid_line_color: grid });
            break;
          case "ColorBar":
            model.setv({
              background_fill_color: panel,
              major_label_text_color: soft,
              title_text_color: soft,
              major_tick_line_color: panel,
            });
            break;
          case "Span":
            model.setv({ line_color: color("fail") });
            break;
        }
      }
      for (const [name, role] of [["every", "pass"], ["failing", "fail"]]) {
        const bars = this.model(name);
        if (bars) bars.glyph.fill_color = { value: color(role) };
      }
    }
  }

  let figureCount = 0;

  async function makeFigure(target) {
    // A figure may be on a page more than once; no two may have the same identifiers.
    figureCount += 1;
    const text = JSON.stringify(window.bgqaFigures[target.dataset.figure]);
    const item = JSON.parse(text.replaceAll(/"(p\d+)"/g, `"$1-${figureCount}"`));
    const manager = await window.Bokeh.embed.embed_item(item, target);
    const figure = manager.roots[0].model;
    const narrow = target.clientWidth < 420;
    if (target.classList.contains("high")) figure.height = narrow ? 380 : 460;
    for (const model of figure.document._all_models.values()) {
      if (narrow && model.type === "DatetimeTicker") model.desired_num_ticks = 3;
    }
    return new Figure(manager.roots[0], target);
  }

  const finite = (values) => values.filter((value) => value !== null && Number.isFinite(value));

  function limits(values, margin = 0.05) {
    const good = finite(values);
    if (!good.length) return [0, 1];
    let low = good.reduce((a, b) => Math.min(a, b));
    let high = good.reduce((a, b) => Math.max(a, b));
    const size = high - low || Math.abs(high) * 0.02 || 1;
    return [low - margin * size, high + margin * size];
  }

  // Thresholds are in view unless values are far from them.
  function withBounds([low, high], metric) {
    const reach = 0.6 * (high - low);
    for (const bound of [metric.low, metric.high]) {
      if (bound === null) continue;
      if (bound < low && bound > low - reach) low = bound - 0.05 * (high - low);
      if (bound > high && bound < high + reach) high = bound + 0.05 * (high - low);
    }
    return [low, high];
  }

  class View {
    constructor(section, data) {
      this.section = section;
      this.data = data;
      this.select = section.querySelector("select.metric");
      this.figures = {};
      this.hiddenBands = new Set();
      // Of many nights, the extremes hide the rest.
      this.extremes = new Set(data.cells?.x).size <= 15;
    }

    async start() {
      for (const target of this.section.querySelectorAll("[data-figure]")) {
        this.figures[target.dataset.kind] = await makeFigure(target);
      }
      this.makeLegend();
      this.select.addEventListener("change", () => this.show());
      for (const kind of ["map", "ranking"]) {
        const source = this.figures[kind]?.model(kind === "map" ? "places" : "points");
        source?.selected.properties.indices.change.connect(() => {
          const [index] = source.selected.indices;
          if (index !== undefined) this.choose(index);
        });
      }
      onTheme.push(() => this.show());
      this.show();
      window.addEventListener("hashchange", () => this.followHash());
      // What is worst, until something is chosen.
      this.choose(this.data.worst);
      this.followHash();
    }

    get metric() {
      return this.data.metrics.find((metric) => metric.name === this.select.value);
    }

    unit(metric) {
      return metric.unit ? ` ${metric.unit}` : "";
    }

    makeLegend() {
      const legend = this.section.querySelector(".legend");
      if (!legend) return;
      for (const band of Object.keys(this.data.bands)) {
        const box = element("input", { type: "checkbox", checked: true });
        const swatch = element("span", { className: "swatch" });
        const paint = () => (swatch.style.background = this.bandColor(band));
        paint();
        onTheme.push(paint);
        box.addEventListener("change", () => {
          this.hiddenBands[box.checked ? "delete" : "add"](band);
          this.showSeries(this.metric);
        });
        legend.append(element("label", {}, box, swatch, band));
      }
      const box = element("input", { type: "checkbox", checked: this.extremes });
      box.addEventListener("change", () => {
        this.extremes = box.checked;
        this.showSeries(this.metric);
      });
      legend.append(element("label", {}, box, "extremes"));
    }

    bandColor(band) {
      return this.data.bands[band]?.[isDark() ? "dark" : "light"] ?? color("ink");
    }

    show() {
      const metric = this.metric;
      const note = this.section.querySelector(".note");
      const parts = [];
      if (metric.low !== null) parts.push(`at least ${format(metric.low)}`);
      if (metric.high !== null) parts.push(`at most ${format(metric.high)}`);
      const passes = parts.length ? `Passes: ${parts.join(", ")}${this.unit(metric)}.` : metric.rule;
      note.replaceChildren(element("b", {}, metric.name), ` ${metric.description} `, passes);
      this.section.dataset.metric = metric.name;
      this.showMap(metric);
      this.showRanking(metric);
      this.showSeries(metric);
      this.showHistogram(metric);
      this.showColumn(metric);
      // Room for labels that have become longer.
      for (const figure of Object.values(this.figures)) figure.view.invalidate_layout();
    }

    failing(metric) {
      return new Set(this.data.failing[metric.name] ?? []);
    }

    text(index, metric) {
      const { title, places, values } = this.data;
      const lines = [`${title} ${places.label[index]}${places.name[index] ? ` (${places.name[index]})` : ""}`];
      lines.push(`${metric.name}: ${format(values[metric.name]?.[index])}${this.unit(metric)}`);
      if (this.failing(metric).has(index)) lines.push(this.data.failingWord);
      return lines.join("\n");
    }

    showMap(metric) {
      const figure = this.figures.map;
      if (!figure) return;
      const { places, values, seams } = this.data;
      const shown = values[metric.name] ?? places.label.map(() => null);
      const bad = this.failing(metric);
      const [low, high] = this.colorLimits(shown);
      figure.model("colors").setv({ low, high });
      figure.model("bar").title = null;
      const width = figure.target.clientWidth || 400;
      const room = width / Math.sqrt(places.label.length) > 34;
      figure.model("labels").visible = room;
      figure.fill("places", {
        xs: places.xs,
        ys: places.ys,
        x: places.xs.map((xs) => xs.reduce((a, b) => a + b, 0) / xs.length),
        y: places.ys.map((ys) => ys.reduce((a, b) => a + b, 0) / ys.length),
        value: shown.map((value) => value ?? NaN),
        label: places.label,
        text: places.label.map((_, i) => this.text(i, metric)),
        edge: places.label.map((_, i) => (bad.has(i) ? color("fail") : color("panel"))),
        width: places.label.map((_, i) => (bad.has(i) ? 3 : 1)),
        hatch: places.label.map((_, i) => (bad.has(i) ? "right_diagonal_line" : "blank")),
      });
      if (seams) figure.fill("seams", { ...seams, color: seams.size.map(() => color("ink")) });
    }

    // Of many places, the extremes do not take all colours.
    colorLimits(values) {
      const good = finite(values).sort((a, b) => a - b);
      if (!good.length) return [0, 1];
      const cut = good.length > 50 ? Math.floor(0.02 * good.length) : 0;
      const [low, high] = [good[cut], good[good.length - 1 - cut]];
      if (high > low) return [low, high];
      const margin = Math.abs(low) * 0.01 || 0.5;
      return [low - margin, high + margin];
    }

    showRanking(metric) {
      const figure = this.figures.ranking;
      if (!figure) return;
      const { places, values } = this.data;
      const shown = values[metric.name] ?? places.label.map(() => null);
      const bad = this.failing(metric);
      const x = places.label.map((label, i) => (Number.isFinite(Number(label)) ? Number(label) : i));
      figure.fill("points", {
        x,
        y: shown.map((value) => value ?? NaN),
        color: x.map((_, i) => color(bad.has(i) ? "fail" : "pass")),
        marker: x.map((_, i) => (bad.has(i) ? "x" : "circle")),
        text: x.map((_, i) => this.text(i, metric)),
      });
      figure.range("x_range", ...limits(x));
      figure.range("y_range", ...withBounds(limits(shown), metric));
      figure.bounds(metric, true);
      figure.label("x", this.data.title.toLowerCase());
      figure.label("y", metric.unit);
    }

    showSeries(metric) {
      const figure = this.figures.series;
      if (!figure) return;
      const { cells } = this.data;
      const quantiles = cells.quantiles[metric.name];
      const keep = cells.band.map((band, i) => i).filter(
        (i) => quantiles && quantiles[2][i] !== null && !this.hiddenBands.has(cells.band[i])
      );
      const take = (values) => keep.map((i) => values[i]);
      // Bands of one night stand side by side.
      const bands = Object.keys(this.data.bands);
      const times = limits(cells.x);
      if (times[1] - times[0] < 4 * 86400e3) [times[0], times[1]] = [times[0] - 2 * 86400e3, times[1] + 2 * 86400e3];
      const nights = new Set(cells.x).size;
      const step = Math.min(0.012, 0.6 / nights / bands.length) * (times[1] - times[0]);
      const place = (i) => cells.x[i] + (bands.indexOf(cells.band[i]) - (bands.length - 1) / 2) * step;
      figure.model("medians").glyph.size = { value: keep.length > 200 ? 4 : keep.length > 60 ? 6 : 9 };
      figure.model("whiskers").glyph.line_width = { value: keep.length > 200 ? 1.5 : keep.length > 60 ? 3 : 5 };
      const [min, low, median, high, max] = quantiles ? quantiles.map(take) : [[], [], [], [], []];
      const lines = {};
      for (const i of keep) {
        const line = (lines[cells.band[i]] ??= { xs: [], ys: [] });
        line.xs.push(place(i));
        line.ys.push(quantiles[2][i]);
      }
      figure.fill("lines", {
        xs: Object.values(lines).map((line) => line.xs),
        ys: Object.values(lines).map((line) => line.ys),
        color: Object.keys(lines).map((band) => this.bandColor(band)),
      });
      figure.fill("cells", {
        x: keep.map(place),
        median, low, high,
        min: this.extremes ? min : low,
        max: this.extremes ? max : high,
        color: keep.map((i) => this.bandColor(cells.band[i])),
        marker: keep.map((i) => this.data.bands[cells.band[i]]?.marker ?? "circle"),
        text: keep.map((i, k) =>
          [
            `${cells.night[i]}, band ${cells.band[i]}`,
            `median ${format(median[k])}, 5% to 95%: ${format(low[k])} to ${format(high[k])}${this.unit(metric)}`,
            `extremes ${format(min[k])} and ${format(max[k])}`,
            `${cells.count[i]} rows, of which ${cells.failing[i]} fail`,
          ].join("\n")
        ),
      });
      figure.range("x_range", ...times);
      figure.range("y_range", ...withBounds(limits(this.extremes ? [...min, ...max] : [...low, ...high]), metric));
      figure.bounds(metric, true);
      figure.label("y", metric.unit);
    }

    showHistogram(metric) {
      const figure = this.figures.histogram;
      if (!figure) return;
      const histogram = this.data.histograms[metric.name];
      figure.target.closest("figure").classList.toggle("nothing", !histogram);
      const { first = 0, last = 1, passing = [], failing = [] } = histogram ?? {};
      const step = (last - first) / (passing.length || 1);
      const left = passing.map((_, i) => first + i * step);
      figure.fill("bins", {
        left,
        right: left.map((value) => value + step),
        all: passing.map((count, i) => Math.max(count + failing[i], 0.5)),
        failing: failing.map((count) => Math.max(count, 0.5)),
        text: passing.map((count, i) => {
          const from = i === 0 ? "up" : format(left[i]);
          const to = i === passing.length - 1 ? "more" : format(left[i] + step);
          return `${from} to ${to}${this.unit(metric)}\n${count + failing[i]} rows, of which ${failing[i]} fail for it`;
        }),
      });
      figure.range("x_range", ...withBounds([first, last], metric));
      const most = Math.max(1, ...passing.map((count, i) => count + failing[i]));
      figure.range("y_range", 0.5, most * 1.6);
      figure.bounds(metric, true);
      figure.label("x", metric.unit);
    }

    // The table's own column of the metric.
    showColumn(metric) {
      const table = document.getElementById(this.section.dataset.table ?? "");
      const head = table?.querySelector("th.metric-value button");
      if (!head) return;
      head.textContent = metric.name + (metric.unit ? ` / ${metric.unit}` : "");
      const column = head.closest("th").cellIndex;
      const bad = this.failing(metric);
      for (const row of table.tBodies[0].rows) {
        const index = Number(row.dataset.place);
        const value = this.data.values[metric.name]?.[index] ?? null;
        const cell = row.cells[column];
        cell.textContent = value === null ? "" : format(value);
        cell.dataset.value = value ?? "";
        cell.style.color = bad.has(index) ? "var(--fail-ink)" : "";
      }
    }

    followHash() {
      let wanted = location.hash.slice(1);
      try {
        wanted = decodeURIComponent(wanted);
      } catch {
        // It is not ours.
      }
      const index = this.data.places?.anchor?.indexOf(wanted) ?? -1;
      if (wanted && index >= 0) this.choose(index);
    }

    choose(index, scroll = false) {
      if (index === null || index === undefined) return;
      for (const [kind, name] of [["map", "places"], ["ranking", "points"]]) {
        const source = this.figures[kind]?.model(name);
        if (source && source.selected.indices[0] !== index) source.selected.indices = [index];
      }
      const table = document.getElementById(this.section.dataset.table ?? "");
      for (const row of table?.tBodies[0].rows ?? []) {
        row.classList.toggle("chosen", Number(row.dataset.place) === index);
      }
      this.showCard(index);
      if (scroll) this.section.querySelector(".card")?.scrollIntoView({ block: "nearest" });
    }

    showCard(index) {
      const card = this.section.querySelector(".card");
      if (!card) return;
      const { places, metrics, values, title } = this.data;
      const name = places.name[index] ? ` (${places.name[index]})` : "";
      const facts = element("dl", { className: "facts-list" });
      const table = document.getElementById(this.section.dataset.table ?? "");
      for (const button of table?.querySelectorAll(`tr[data-place="${index}"] .copy`) ?? []) {
        const { what, copy: text } = button.dataset;
        facts.append(element("dt", {}, what), element("dd", { className: "mono" }, text));
      }
      const list = element("dl", { className: "values", tabIndex: 0 });
      list.setAttribute("aria-label", "All metrics");
      for (const metric of metrics) {
        const value = values[metric.name]?.[index];
        if (value === null || value === undefined) continue;
        const bad = this.failing(metric).has(index);
        const text = `${format(value)}${this.unit(metric)}${bad ? " \u2715" : ""}`;
        list.append(
          element(
            "div",
            { title: metric.description },
            element("dt", {}, metric.name),
            element("dd", { className: bad ? "fail" : "" }, text)
          )
        );
      }
      const children = [element("h3", {}, `${title} ${places.label[index]}${name}`)];
      const pictures = places.pictures?.[index] ?? [];
      if (pictures.length) {
        const gallery = element("ul", { className: "pictures" });
        for (const [what, path] of pictures) {
          const image = element("img", { src: path, alt: `${what} of ${title} ${places.label[index]}`, loading: "lazy" });
          gallery.append(
            element("li", {}, element("figure", {}, element("a", { href: path }, image), element("figcaption", {}, what)))
          );
        }
        children.push(gallery);
      }
      children.push(facts, list);
      card.replaceChildren(...children);
      card.classList.remove("hidden");
    }
  }

  // ---- The page ----------------------------------------------------------

  async function start() {
    document.getElementById("theme")?.addEventListener("click", toggleTheme);
    system.addEventListener("change", themeChanged);
    themeChanged();
    document.querySelectorAll("table.sortable").forEach(setUpTable);
    document.querySelectorAll(".copy").forEach((button) => button.addEventListener("click", () => copy(button)));
    const data = document.getElementById("page-data");
    if (!data) return;
    const views = JSON.parse(data.textContent).views;
    for (const section of document.querySelectorAll("[data-view]")) {
      const view = new View(section, views[section.dataset.view]);
      await view.start();
      const table = document.getElementById(section.dataset.table ?? "");
      table?.querySelectorAll("button.choose").forEach((button) => {
        button.addEventListener("click", () => view.choose(Number(button.closest("tr").dataset.place), true));
      });
    }
    root.dataset.ready = "true";
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
