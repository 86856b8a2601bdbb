(() => {
  "use strict";
  const root = document.documentElement;
  let data = {specifications: {}};
  const narrow = matchMedia("(max-width: 40rem)");
  const shown = {};

  // What the charts are drawn from and with: JSON, compressed

  async function unpacked() {
    const letters = atob(document.getElementById("packed").textContent);
    const bytes = new Blob([Uint8Array.from(letters, letter => letter.charCodeAt(0))]);
    return new Response(bytes.stream().pipeThrough(new DecompressionStream("gzip"))).json();
  }

  function run(program) {
    const script = document.createElement("script");
    script.textContent = program;
    document.head.append(script);
  }

  // Charts

  async function draw(name, linear) {
    const figure = document.getElementById(`figure-${name}`);
    const specification = structuredClone(data.specifications[name]);
    if (narrow.matches) makeNarrow(specification);
    if (linear) makeLinear(specification);
    try {
      const options = {
        renderer: "svg", actions: false, defaultStyle: false, tooltip: {disableDefaultStyle: true}, config: config(),
        expressionFunctions: {ticksBetween},
      };
      const drawn = await vegaEmbed(figure.querySelector(".chart"), specification, options);
      figure.querySelector("svg").setAttribute("aria-hidden", "true"); // its box has the words, and the data are a table
      shown[name]?.finalize();
      shown[name] = drawn;
    } catch (error) {
      figure.querySelector(".chart").textContent = `This chart could not be drawn: ${error.message}`;
      throw error;
    }
  }

  function config() {
    if (!narrow.matches) return data.theme;
    return {
      ...data.theme,
      padding: {left: 0, right: 18, top: 4, bottom: 4},
      axisX: {titleAnchor: "end", titleFontSize: 11, titleLimit: 260},
      legend: {...data.theme.legend, columns: 2, columnPadding: 4, labelFontSize: 10, labelLimit: 130},
    };
  }

  function makeNarrow(specification) {
    for (const channel of channels(specification)) {
      if (channel.legend?.columns) channel.legend.columns = 2;
      if (channel.axis?.labelLimit) channel.axis.labelLimit = 100;
    }
  }

  const channels = specification => (specification.layer ?? []).flatMap(layer => Object.values(layer.encoding ?? {}));

  // From zero, unless that would press everything against the far end.
  function makeLinear(specification) {
    for (const channel of channels(specification)) {
      if (channel.scale?.type !== "log") continue;
      const [low, high] = channel.scale.domain;
      channel.scale = {...channel.scale, type: "linear", zero: false, domain: [high > 3 * low ? 0 : low, high]};
      if (channel.axis?.values?.expr) channel.axis.values.expr = channel.axis.values.expr.replace("'log'", "'even'");
    }
  }

  // The chosen ticks where enough of them are in sight; else round numbers of a unit.
  function ticksBetween([low, high], scale, chosen, units) {
    const offered = scale === "log" ? tenfold(low, high, chosen) : scale === "linear" ? chosen : [];
    const inside = offered.filter(value => low <= value && value <= high);
    const isFar = scale === "linear" && high - low > 2 * (chosen.at(-1) - chosen[0]);
    return inside.length > 2 && !isFar ? inside : evenTicks(low, high, units.findLast(size => size <= high) ?? units[0]);
  }

  function tenfold(low, high, chosen) {
    const ticks = [...chosen];
    while (ticks[0] / 10 > low) ticks.unshift(ticks[0] / 10);
    while (ticks.at(-1) * 10 < high) ticks.push(ticks.at(-1) * 10);
    return ticks;
  }

  function evenTicks(low, high, unit) {
    const rough = (high - low) / unit / 6;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = unit * [1, 2, 5, 10].map(digit => digit * power).find(step => step >= rough);
    const first = Math.ceil(low / step);
    return Array.from({length: Math.floor(high / step) - first + 1}, (_, index) => (first + index) * step);
  }

  function zoom(name, factor) {
    const view = shown[name].view;
    for (const [channel, signal] of Object.entries(data.specifications[name].usermeta.zoom))
      view.signal(signal, scaled(view.scale(channel), factor));
    return view.runAsync();
  }

  // Both ends brought nearer to the middle, as the axis measures distance.
  function scaled(scale, factor) {
    const [from, to] = scale.range();
    const middle = (from + to) / 2;
    return [from, to].map(end => scale.invert(middle + (end - middle) / factor));
  }

  const isLinear = figure => figure.querySelector('[data-do="linear"]')?.getAttribute("aria-pressed") === "true";

  const actions = {
    in: name => zoom(name, 1.5),
    out: name => zoom(name, 1 / 1.5),
    reset: (name, button, figure) => draw(name, isLinear(figure)),
    linear: (name, button, figure) => {
      button.setAttribute("aria-pressed", String(!isLinear(figure)));
      return draw(name, isLinear(figure));
    },
    svg: name => save(name, "svg"),
    png: name => save(name, "png"),
  };

  async function save(name, type) {
    const link = document.createElement("a");
    link.href = await shown[name].view.toImageURL(type, 2);
    link.download = `${name}.${type}`;
    link.click();
  }

  // The data of a chart as a table, made when it is first looked at

  function fill(details, specification) {
    const box = details.querySelector(".scroll");
    if (!box.childElementCount) box.append(...tables(specification));
  }

  function tables(specification) {
    const made = new Map();
    for (const layer of specification.layer ?? [specification]) {
      const fields = [layer.encoding?.tooltip ?? []].flat().map(one => one.field).filter(Boolean);
      const rows = layer.data?.values ?? specification.datasets?.[layer.data?.name] ?? [];
      const key = JSON.stringify([layer.data?.name, fields]);
      if (fields.length && rows.length && !made.has(key)) made.set(key, table(fields, rows));
    }
    return made.values();
  }

  function table(fields, rows) {
    const made = document.createElement("table");
    const heading = made.createTHead().insertRow();
    for (const field of fields) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = field;
      heading.append(cell);
    }
    const body = made.createTBody();
    for (const row of rows) {
      const line = body.insertRow();
      for (const field of fields) line.insertCell().textContent = row[field] ?? "";
    }
    return made;
  }

  // The page

  function chooseTheme(name) {
    if (name === "system") delete root.dataset.theme;
    else root.dataset.theme = name;
  }

  function remembered(name) {
    try {
      if (name) localStorage.setItem("scalemark-theme", name);
      return localStorage.getItem("scalemark-theme");
    } catch {
      return null; // a browser may keep a page from disk from remembering anything
    }
  }

  function wireTheme() {
    const select = document.getElementById("theme");
    select.value = remembered() ?? "system";
    chooseTheme(select.value);
    select.addEventListener("change", () => chooseTheme(remembered(select.value) ?? select.value));
  }

  function wireFigure(name) {
    const figure = document.getElementById(`figure-${name}`);
    for (const button of figure.querySelectorAll("button"))
      button.addEventListener("click", () => actions[button.dataset.do](name, button, figure));
    const details = figure.querySelector("details");
    details.addEventListener("toggle", () => fill(details, data.specifications[name]));
  }

  // A link into a fold opens it; so does printing, and what was closed is closed again afterwards.
  function wireFolds() {
    const folds = [...document.querySelectorAll("details.reference")];
    const reveal = () => {
      const target = folds.find(fold => `#${fold.id}` === decodeURIComponent(location.hash));
      if (target) target.open = true;
    };
    addEventListener("hashchange", reveal);
    reveal();
    let closed = [];
    addEventListener("beforeprint", () => {
      closed = folds.filter(fold => !fold.open);
      for (const fold of closed) fold.open = true;
    });
    addEventListener("afterprint", () => {
      for (const fold of closed) fold.open = false;
    });
  }

  const drawAll = () => Promise.all(
    Object.keys(data.specifications).map(name => draw(name, isLinear(document.getElementById(`figure-${name}`)))));

  async function start() {
    data = await unpacked();
    run(data.library);
    Object.keys(data.specifications).forEach(wireFigure);
    narrow.addEventListener("change", drawAll);
    await drawAll();
    dispatchEvent(new Event("resize")); // the charts of a row are as high as the highest, which is known only now
    root.dataset.charts = "drawn";
  }

  function explain(error) {
    for (const box of document.querySelectorAll(".chart:empty"))
      box.textContent = `The charts could not be drawn (${error.message}): open this file in a newer browser.`;
    throw error;
  }

  wireTheme();
  wireFolds();
  start().catch(explain);
})();
