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

  const narrow = window.matchMedia("(max-width: 520px)");

  function setUpTable(table) {
    const rows = [...table.tBodies[0].rows];
    const original = new Map(rows.map((row, i) => [row, i]));
    const tools = document.getElementById(table.dataset.tools);
    const heads = [...table.tHead.rows[0].cells];
    if (narrow.matches && heads.length > 3) {
      table.classList.add("cards");
      for (const row of rows) [...row.cells].forEach((cell, i) => (cell.dataset.label = heads[i].textContent));
    }

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
    tools.querySelector(".csv").addEventListener("click", () => saveTable(table));
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

  // What is shown of a table, for spreadsheets; no text of it is a formula there.
  function saveTable(table) {
    const quote = (text) => `"${(/^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text).replaceAll('"', '""')}"`;
    const text = (cell) => cell.dataset.copy ?? cell.textContent.trim();
    const rows = [table.tHead.rows[0], ...[...table.tBodies[0].rows].filter((row) => !row.hidden)];
    const lines = rows.map((row) => [...row.cells].map((cell) => quote(cell.dataset.value ?? text(cell))).join(","));
    const url = URL.createObjectURL(new Blob([lines.join("\r\n") + "\r\n"], { type: "text/csv" }));
    element("a", { href: url, download: `${table.id}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
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
          case "Title":
            model.setv({ text_color: soft });
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

  function decodeURIComponentSafely(text) {
    try {
      return decodeURIComponent(text);
    } catch {
      return text; // it is not ours
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

  // A picture that might run scripts, as SVG may, is shown but not opened.
  const linked = (path, child) => (path.endsWith(".svg") ? child : element("a", { href: path }, child));

  // Columns that the page has as base64 of float32.
  function unpack({ names, float32 }) {
    const bytes = Uint8Array.from(atob(float32), (character) => character.charCodeAt(0));
    const every = new Float32Array(bytes.buffer);
    const size = names.length ? every.length / names.length : 0;
    const column = (i) => Array.from(every.subarray(i * size, (i + 1) * size), (value) => (Number.isFinite(value) ? value : null));
    return Object.fromEntries(names.map((name, i) => [name, column(i)]));
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

  const logLimits = (values) => limits(finite(values).map(Math.log10)).map((power) => 10 ** power);

  class View {
    constructor(section, data) {
      this.section = section;
      this.data = data;
      this.packed = data.values;
      this.values = this.chosen("all");
      this.shown = this.values;
      this.select = section.querySelector("select.metric");
      this.figures = {};
      this.hiddenBands = new Set();
      // Of many nights, the extremes hide the rest.
      this.extremes = new Set(data.cells?.x).size <= 15;
    }

    // Values of all rows, or of those of a band or night.
    chosen(choice) {
      const values = unpack(this.packed[choice]);
      if (this.data.share) values.verdict_failingShare = this.data.share;
      return values;
    }

    async start() {
      this.makeSelect();
      this.makeTable();
      for (const target of this.section.querySelectorAll("[data-figure]")) {
        this.figures[target.dataset.kind] = await makeFigure(target);
      }
      this.makeLegend();
      this.select.addEventListener("change", () => {
        this.show();
        this.remember();
      });
      this.section.querySelector("select.choice")?.addEventListener("change", (event) => {
        this.shown = this.chosen(event.target.value);
        this.showMap(this.metric);
      });
      for (const kind of ["map", "ranking", "ranking-log"]) {
        const source = this.figures[kind]?.model(kind === "map" ? "tiles" : "points");
        source?.selected.properties.indices.change.connect(() => {
          const [index] = source.selected.indices;
          if (index !== undefined && index !== this.index) {
            this.choose(index);
            this.remember();
          }
        });
      }
      onTheme.push(() => this.show());
      this.show();
      window.addEventListener("hashchange", () => this.followHash());
      // What is worst, until something is chosen.
      this.choose(this.data.worst);
      this.followHash();
    }

    // Of the figures of a kind, the one with the scale that values ask for.
    scaled(kind, values) {
      const good = finite(values);
      const least = Math.min(...good);
      const log = good.length > 1 && least > 0 && Math.max(...good) > 300 * least;
      for (const [name, wanted] of [[kind, !log], [`${kind}-log`, log]]) {
        this.figures[name]?.target.classList.toggle("hidden", !wanted);
      }
      return [this.figures[log ? `${kind}-log` : kind], log];
    }

    get metric() {
      return this.data.metrics.find((metric) => metric.name === this.select.value);
    }

    unit(metric) {
      return metric.unit ? ` ${metric.unit}` : "";
    }

    // What a tile's value is in: of levels in an overview, what its visit's median is.
    tileUnit(metric) {
      return this.isRelative(metric) ? " %" : this.unit(metric);
    }

    axis(metric) {
      return metric.name + (metric.unit ? ` [${metric.unit}]` : "");
    }

    makeSelect() {
      const groups = {};
      for (const { name } of this.data.metrics) (groups[name.split("_")[0]] ??= []).push(name);
      const option = (name) => element("option", { value: name }, name);
      const group = ([label, names]) => element("optgroup", { label }, ...names.map(option));
      this.select.append(...Object.entries(groups).map(group));
      this.select.value = this.data.first;
    }

    // A page's table of tiles, which is made of the same numbers as its figures.
    makeTable() {
      const { rows, tiles, title } = this.data;
      const table = document.getElementById(this.section.dataset.table ?? "");
      if (!rows || !table?.dataset.tile) return;
      const named = tiles.name.some(Boolean);
      const heads = [title.toLowerCase(), ...(named ? ["name"] : []), "verdict", "severity", "metric", "what fails", "pictures", "dataset ID"];
      const numbers = { severity: "number", metric: "number metric-value" };
      const head = element("tr", {}, ...heads.map((text) => {
        const cell = element("th", { scope: "col", className: numbers[text] ?? "" }, element("button", { type: "button" }, text));
        return cell;
      }));
      const copyButton = (text, what, label) => {
        const button = element("button", { className: "copy", type: "button" }, label);
        Object.assign(button.dataset, { copy: text, what });
        button.setAttribute("aria-label", `Copy ${what}`);
        return button;
      };
      const body = tiles.label.map((label, i) => {
        const verdict = rows.verdict[i];
        const choose = element("button", { className: "link choose", type: "button" }, label);
        choose.addEventListener("click", () => {
          this.choose(i, true);
          this.remember();
        });
        const severity = element("td", { className: "number" }, rows.severity[i] ? format(rows.severity[i]) : "");
        if (rows.severity[i]) severity.dataset.value = rows.severity[i];
        const links = (tiles.pictures?.[i] ?? []).flatMap(([what, path], k) => [k ? ", " : "", linked(path, what)]);
        const ids = element("td", { className: "ids" });
        const id = rows.dataset_id[rows.dataset_id.length === 1 ? 0 : i];
        if (id) ids.append(copyButton(id, rows.type?.[i] ?? rows.source, "copy UUID"));
        ids.append(copyButton(rows.where + label, "data ID", "copy data ID"));
        const row = element(
          "tr",
          { id: tiles.anchor[i] },
          element("th", { scope: "row" }, choose),
          ...(named ? [element("td", {}, tiles.name[i])] : []),
          element("td", {}, element("span", { className: `verdict ${verdict}` }, verdict)),
          severity,
          element("td", { className: "number metric-value" }),
          element("td", { className: "wrap" }, rows.fault[i] || rows.failed[i].replaceAll(",", ", ")),
          element("td", {}, ...links),
          ids
        );
        Object.assign(row.dataset, { verdict, tile: i });
        return row;
      });
      table.append(element("thead", {}, head), element("tbody", {}, ...body));
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
      let passes = parts.length ? `Passes: ${parts.join(", ")}${this.unit(metric)}.` : metric.rule;
      if (this.isRelative(metric)) passes += " Of a detector, its distance from the median of its visit is shown.";
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

    isRelative(metric) {
      return this.data.relative?.includes(metric.name) ?? false;
    }

    failing(metric) {
      return new Set(this.data.failing[metric.name] ?? []);
    }

    text(index, metric, values = this.values, unit = this.tileUnit(metric)) {
      const { title, tiles } = this.data;
      const lines = [`${title} ${tiles.label[index]}${tiles.name[index] ? ` (${tiles.name[index]})` : ""}`];
      lines.push(`${metric.name}: ${format(values[metric.name]?.[index])}${unit}`);
      if (this.failing(metric).has(index)) lines.push(this.data.failingWord);
      return lines.join("\n");
    }

    showMap(metric) {
      const figure = this.figures.map;
      if (!figure) return;
      const { tiles, seams } = this.data;
      const shown = this.shown[metric.name] ?? tiles.label.map(() => null);
      const bad = this.failing(metric);
      const relative = this.isRelative(metric);
      const turn = metric.unit === "rad" ? 2 * Math.PI : 360;
      const least = finite(shown).reduce((a, b) => Math.min(a, b), 0);
      const [low, high] = metric.cyclic ? (least < 0 ? [-turn / 2, turn / 2] : [0, turn]) : this.colorLimits(shown);
      figure.model("colors").setv({ low, high, palette: window.bgqaFigures.palettes[metric.cyclic ? "cyclic" : "linear"] });
      figure.model("bar_label").text = metric.name + (relative ? " - visit's median [%]" : metric.unit ? ` [${metric.unit}]` : "");
      const width = figure.target.clientWidth || 400;
      const room = width / Math.sqrt(tiles.label.length) > 34;
      figure.model("labels").visible = room;
      figure.fill("tiles", {
        xs: tiles.xs,
        ys: tiles.ys,
        x: tiles.xs.map((xs) => xs.reduce((a, b) => a + b, 0) / xs.length),
        y: tiles.ys.map((ys) => ys.reduce((a, b) => a + b, 0) / ys.length),
        value: shown.map((value) => value ?? NaN),
        label: tiles.label,
        text: tiles.label.map((_, i) => this.text(i, metric, this.shown)),
        edge: tiles.label.map((_, i) => (bad.has(i) ? color("fail") : color("panel"))),
        width: tiles.label.map((_, i) => (bad.has(i) ? 3 : 1)),
        hatch: tiles.label.map((_, i) => (bad.has(i) ? "right_diagonal_line" : "blank")),
      });
      this.showArrows(figure, tiles);
      if (seams) figure.fill("seams", { ...seams, color: seams.size.map(() => color("ink")) });
    }

    // Where north and east are, in the corner of the map that is least in the way.
    showArrows(figure, { xs, ys, arrows }) {
      const [x, y] = [xs.flat(), ys.flat()];
      if (!x.length || !arrows) return;
      const [left, right] = limits(x, 0);
      const [bottom, top] = limits(y, 0);
      const size = 0.07 * Math.max(right - left, top - bottom);
      const corner = (u, v) => Math.min(...x.map((value, i) => Math.hypot(value - u, y[i] - v)));
      const corners = [[left, bottom], [right, bottom], [left, top], [right, top]];
      let [u, v] = corners.reduce((a, b) => (corner(...b) > corner(...a) ? b : a));
      // Beside the tiles, where the longer of the arrows leads along them.
      const [dx, dy] = Object.values(arrows).reduce(([a, b], [c, d]) => [a + c, b + d]);
      u += (u === left ? -1 : 1) * size * (dx > 0 === (u === left) ? 0.6 : 0.3);
      v += (v === bottom ? -1 : 1) * size * (dy > 0 === (v === bottom) ? 0.6 : 0.3);
      const names = Object.keys(arrows);
      figure.fill("arrows", {
        x0: names.map(() => u),
        y0: names.map(() => v),
        x1: names.map((name) => u + size * arrows[name][0]),
        y1: names.map((name) => v + size * arrows[name][1]),
        label: names,
        color: names.map(() => color("ink")),
      });
    }

    // Of many tiles, the extremes do not take all colours.
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
      if (!this.figures.ranking) return;
      const { tiles } = this.data;
      const shown = this.values[metric.name] ?? tiles.label.map(() => null);
      const [figure, log] = this.scaled("ranking", shown);
      const bad = this.failing(metric);
      const x = tiles.label.map((label, i) => (Number.isFinite(Number(label)) ? Number(label) : i));
      figure.fill("points", {
        x,
        y: shown.map((value) => value ?? NaN),
        color: x.map((_, i) => color(bad.has(i) ? "fail" : "pass")),
        marker: x.map((_, i) => (bad.has(i) ? "x" : "circle")),
        text: x.map((_, i) => this.text(i, metric)),
      });
      figure.range("x_range", ...limits(x));
      figure.range("y_range", ...(log ? logLimits(shown) : withBounds(limits(shown), metric)));
      figure.bounds(metric, true);
      figure.label("x", this.data.title.toLowerCase());
      figure.label("y", this.axis(metric));
    }

    showSeries(metric) {
      if (!this.figures.series) return;
      const { cells } = this.data;
      const quantiles = cells.quantiles[metric.name];
      const [figure, log] = this.scaled("series", (quantiles ?? []).flat());
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
      const reach = this.extremes ? [...min, ...median, ...max] : [...low, ...median, ...high];
      figure.range("y_range", ...(log ? logLimits(reach) : withBounds(limits(reach), metric)));
      figure.bounds(metric, true);
      figure.label("y", this.axis(metric));
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
      figure.label("x", this.axis(metric));
    }

    // The table's own column of the metric.
    showColumn(metric) {
      const table = document.getElementById(this.section.dataset.table ?? "");
      const head = table?.querySelector("th.metric-value button");
      if (!head) return;
      const name = metric.name + (this.tileUnit(metric) && ` /${this.tileUnit(metric)}`);
      // A long name may go on in a new line.
      const parts = name.split(/(?<=_)|(?<=[a-z])(?=[A-Z])/).flatMap((part) => [element("wbr"), part]);
      head.replaceChildren(element("span", {}, ...parts));
      const column = head.closest("th").cellIndex;
      const bad = this.failing(metric);
      for (const row of table.tBodies[0].rows) {
        const index = Number(row.dataset.tile);
        const value = this.values[metric.name]?.[index] ?? null;
        const cell = row.cells[column];
        cell.textContent = value === null ? "" : format(value);
        cell.dataset.value = value ?? "";
        if (cell.dataset.label !== undefined) cell.dataset.label = head.textContent;
        cell.style.color = bad.has(index) ? "var(--fail-ink)" : "";
      }
    }

    // A link names a metric and a tile: #metric=level_median&tile=detector-4.
    followHash() {
      const wanted = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
      const anchor = wanted.tile ?? decodeURIComponentSafely(location.hash.slice(1));
      if (wanted.view !== undefined && wanted.view !== this.section.dataset.view) return;
      if (this.data.metrics.some((metric) => metric.name === wanted.metric) && wanted.metric !== this.select.value) {
        this.select.value = wanted.metric;
        this.show();
      }
      const index = this.data.tiles?.anchor?.indexOf(anchor) ?? -1;
      if (anchor && index >= 0) this.choose(index);
    }

    remember() {
      const parts = { view: this.section.dataset.view, metric: this.select.value };
      if (this.index !== undefined && this.index !== null) parts.tile = this.data.tiles.anchor[this.index];
      history.replaceState(null, "", `#${new URLSearchParams(parts)}`);
    }

    choose(index, scroll = false) {
      if (index === null || index === undefined) return;
      this.index = index;
      for (const [kind, name] of [["map", "tiles"], ["ranking", "points"], ["ranking-log", "points"]]) {
        const source = this.figures[kind]?.model(name);
        if (source && source.selected.indices[0] !== index) source.selected.indices = [index];
      }
      const table = document.getElementById(this.section.dataset.table ?? "");
      for (const row of table?.tBodies[0].rows ?? []) {
        row.classList.toggle("chosen", Number(row.dataset.tile) === index);
      }
      this.showCard(index);
      if (scroll) this.section.querySelector(".card")?.scrollIntoView({ block: "nearest" });
    }

    showCard(index) {
      const card = this.section.querySelector(".card");
      if (!card) return;
      const { tiles, metrics, title, rows } = this.data;
      const { values } = this;
      const name = tiles.name[index] ? ` (${tiles.name[index]})` : "";
      const facts = element("dl", { className: "facts-list" });
      const table = document.getElementById(this.section.dataset.table ?? "");
      for (const button of table?.querySelectorAll(`tr[data-tile="${index}"] .copy`) ?? []) {
        const { what, copy: text } = button.dataset;
        facts.append(element("dt", {}, what), element("dd", { className: "mono" }, text));
      }
      const list = element("dl", { className: "values", tabIndex: 0 });
      list.setAttribute("aria-label", "All metrics");
      for (const metric of metrics) {
        const value = values[metric.name]?.[index];
        if (value === null || value === undefined) continue;
        const bad = this.failing(metric).has(index);
        const limit = this.isRelative(metric) ? "of its visit's" : [metric.low === null ? "" : `\u2265 ${format(metric.low)}`, metric.high === null ? "" : `\u2264 ${format(metric.high)}`].filter(Boolean).join(", ");
        const text = `${format(value)}${this.tileUnit(metric)}${bad ? " \u2715" : ""}`;
        list.append(
          element(
            "div",
            { title: metric.description },
            element("dt", {}, metric.name),
            element("dd", { className: bad ? "fail" : "" }, text, limit ? element("span", { className: "soft" }, ` (${limit})`) : "")
          )
        );
      }
      const children = [element("h3", {}, `${title} ${tiles.label[index]}${name}`)];
      if (rows?.fault[index]) children.push(element("p", { className: "fail" }, rows.fault[index]));
      const pictures = tiles.pictures?.[index] ?? [];
      if (pictures.length) {
        const gallery = element("ul", { className: "pictures" });
        for (const [what, path] of pictures) {
          const image = element("img", { src: path, alt: `${what} of ${title} ${tiles.label[index]}`, loading: "lazy" });
          gallery.append(
            element("li", {}, element("figure", {}, linked(path, image), element("figcaption", {}, what)))
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
    const data = document.getElementById("page-data");
    const views = data ? JSON.parse(data.textContent).views : [];
    for (const section of document.querySelectorAll("[data-view]")) {
      const view = new View(section, views[section.dataset.view]);
      await view.start();
      const table = document.getElementById(section.dataset.table ?? "");
      if (table?.dataset.tile) continue;
      table?.querySelectorAll("button.choose").forEach((button) => {
        button.addEventListener("click", () => {
          view.choose(Number(button.closest("tr").dataset.tile), true);
          view.remember();
        });
      });
    }
    document.querySelectorAll("table.sortable").forEach(setUpTable);
    document.querySelectorAll(".copy[data-copy]").forEach((button) => button.addEventListener("click", () => copy(button)));
    root.dataset.ready = "true";
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
