"use strict";
// The explorer's script: reads the data in the page, fetches sheets of pictures as they come into sight, keeps what is shown in the address.
const DATA = JSON.parse(document.getElementById("data").textContent);
const DIMENSIONS = ["arm", "prompt", "training", "seed", "strength", "step"];
const CALLED = { arm: "arm", prompt: "prompt", training: "training", seed: "seed", strength: "strength", step: "step" };
const MOST_IN_A_CELL = 64;
const byId = name => document.getElementById(name);
const make = (tag, settings = {}, ...inside) => { const made = Object.assign(document.createElement(tag), settings); made.append(...inside); return made; };

const PICTURES = DATA.rows.map((row, number) => ({
  number, arm: DATA.arms[row[0]], prompt: DATA.prompts[row[1]], training: row[2], seed: row[3], strength: row[4], step: row[5],
  base: DATA.bases[row[6]], sheet: DATA.sheets[row[7]], at: row[8], large: row[9] === 1, values: row[10],
}));
const BASES = new Map(PICTURES.filter(p => p.base === "").map(p => [[p.arm, p.prompt, p.seed].join("\u0000"), p]));
const baseOf = p => (p.base === "" ? p : BASES.get([p.base, p.prompt, p.seed].join("\u0000")));
const VALUES = Object.fromEntries(DIMENSIONS.map(d => [d, [...new Set(PICTURES.map(p => p[d]))].sort(order(d))]));

function order(d) {
  if (d === "arm" || d === "prompt") { const names = d === "arm" ? DATA.arms : DATA.prompts; return (a, b) => names.indexOf(a) - names.indexOf(b); }
  return (a, b) => (a === null ? Infinity : a) - (b === null ? Infinity : b);
}
function word(d, value) {
  if (d === "step") return value === null ? "end of training" : `step ${value}`;
  if (d === "prompt") return value === "" ? "no prompt" : `“${value}”`;
  if (d === "arm") return value;
  return `${CALLED[d]} ${value}`;
}

// --- what is shown, kept in the address ----------------------------------------------------------------------------------
const pinOf = value => `=${value}`; // "" is all of them, "=" the empty prompt
function begun() {
  const strengths = VALUES.strength.filter(s => s !== 0);
  return {
    cols: "seed", rows: "arm", colGroups: "", rowGroups: "prompt", below: "", size: 64, based: false, claim: "", find: null,
    pins: { arm: "", prompt: "", training: pinOf(VALUES.training[0]), seed: "", strength: strengths.length > 1 ? pinOf(strengths.includes(1) ? 1 : strengths[0]) : "", step: VALUES.step.length > 1 ? pinOf(null) : "" },
  };
}
let state = begun(), order_ = [];

function toHash() {
  const fresh = begun(), said = new URLSearchParams();
  for (const name of ["cols", "rows", "colGroups", "rowGroups", "below", "size", "claim"]) if (state[name] !== fresh[name]) said.set(name, state[name]);
  for (const d of DIMENSIONS) if (state.pins[d] !== fresh.pins[d]) said.set(d, state.pins[d]);
  if (state.based) said.set("based", "1");
  if (state.find) said.set("find", [state.find.measure, state.find.end, state.find.most].join("|"));
  const hash = said.toString();
  if (location.hash.slice(1) !== hash) history.replaceState(null, "", hash ? "#" + hash : location.pathname + location.search);
}
function fromHash() {
  const said = new URLSearchParams(location.hash.slice(1));
  state = begun();
  if (said.has("claim")) chooseClaim(said.get("claim")); // first: what else is said narrows the claim's pictures
  for (const name of ["cols", "rows", "colGroups", "rowGroups", "below"]) if (said.has(name)) state[name] = said.get(name);
  if (said.has("size")) state.size = Math.min(256, Math.max(32, Number(said.get("size")) || 64));
  for (const d of DIMENSIONS) if (said.has(d)) state.pins[d] = said.get(d);
  state.based = said.get("based") === "1";
  if (said.has("find")) { const [measure, end, most] = said.get("find").split("|"); if (DATA.measures.includes(measure)) state.find = { measure, end, most: Number(most) || 10 }; }
}

// --- choosing ------------------------------------------------------------------------------------------------------------
function chooseClaim(key) {
  const claim = DATA.claims.find(c => c.key === key);
  if (!claim) return;
  state = { ...begun(), claim: key, size: state.size, below: DATA.measures.includes(claim.measure) ? claim.measure : "" };
  state.pins = Object.fromEntries(DIMENSIONS.map(d => [d, ""]));
}
function isOfClaim(p, claim) {
  return claim.cells.some(([arm, prompt, strength, step]) => p.arm === arm && p.prompt === prompt && (p.base === "" || (p.strength === strength && p.step === step)));
}
function passes(p, d) {
  const pin = state.pins[d];
  if (pin === "") return true;
  if (p.base === "" && (d === "strength" || d === "step")) return true;
  return pinOf(p[d]) === pin;
}
function chosen() {
  const claim = state.claim && DATA.claims.find(c => c.key === state.claim);
  const found = PICTURES.filter(p => (!claim || isOfClaim(p, claim)) && DIMENSIONS.every(d => passes(p, d)));
  if (!state.find) return found;
  const column = DATA.measures.indexOf(state.find.measure);
  const measured = found.filter(p => p.base !== "" && typeof p.values[column] === "number");
  const sign = state.find.end === "lowest" ? 1 : -1;
  return measured.sort((a, b) => sign * (a.values[column] - b.values[column])).slice(0, state.find.most);
}

// --- sheets --------------------------------------------------------------------------------------------------------------
const sheets = new Map(), waiting = new Map();
window.sheet = (name, side, address) => {
  const [head, text] = address.split(","), bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
  const url = URL.createObjectURL(new Blob([bytes], { type: head.slice(5, head.indexOf(";")) }));
  const image = new Image();
  image.onload = () => { sheets.set(name, { url, image, side }); (waiting.get(name) || []).forEach(told => told(sheets.get(name))); waiting.delete(name); };
  image.src = url;
};
function fetched(name) {
  if (sheets.has(name)) return Promise.resolve(sheets.get(name));
  return new Promise(told => {
    if (waiting.has(name)) { waiting.get(name).push(told); return; }
    waiting.set(name, [told]);
    document.head.append(make("script", { src: `explore/${name}.js` }));
  });
}
async function paint(element, sheetName, at) {
  const found = await fetched(sheetName);
  element.style.backgroundImage = `url("${found.url}")`;
  if (!found.side) { element.style.backgroundSize = "contain"; element.style.backgroundPosition = "center"; return; }
  const across = found.image.naturalWidth / found.side, down = found.image.naturalHeight / found.side;
  const column = at % DATA.columns, row = Math.floor(at / DATA.columns);
  element.style.backgroundSize = `${100 * across}% ${100 * down}%`;
  element.style.backgroundPosition = `${across > 1 ? (100 * column) / (across - 1) : 0}% ${down > 1 ? (100 * row) / (down - 1) : 0}%`;
}
const shownPicture = p => (state.based ? baseOf(p) || p : p);
const seen = new IntersectionObserver(entries => entries.forEach(entry => {
  if (!entry.isIntersecting) return;
  seen.unobserve(entry.target);
  const p = shownPicture(PICTURES[Number(entry.target.dataset.number)]);
  paint(entry.target.firstChild, p.sheet, p.at);
}), { rootMargin: "400px" });

// --- the table -----------------------------------------------------------------------------------------------------------
function tileOf(p) {
  const tile = make("button", { type: "button", className: "tile" }, make("i"));
  tile.dataset.number = p.number;
  tile.setAttribute("aria-label", sayPicture(p));
  const measure = state.find ? state.find.measure : state.below;
  if (measure) tile.append(make("span", { textContent: sayValue(p.values[DATA.measures.indexOf(measure)]) }));
  tile.classList.toggle("based", state.based && p.base !== "");
  seen.observe(tile);
  return tile;
}
const sayPicture = p => `${p.arm}, ${word("prompt", p.prompt)}, training ${p.training}, seed ${p.seed}` + (p.base === "" ? "" : `, strength ${p.strength}, ${word("step", p.step)}`);
const sayValue = value => (value === null ? "not measurable" : value === "" || value === undefined ? "–" : String(value).replace("-", "−"));

function valuesOf(found, d) { return d === "" ? [null] : [...new Set(found.map(p => p[d]))].sort(order(d)); }
function cellOf(found, fixed) { return found.filter(p => fixed.every(([d, value]) => d === "" || p[d] === value)); }

function draw() {
  seen.disconnect();
  const found = chosen(), box = byId("table");
  byId("grid").style.setProperty("--tile", `${state.size}px`);
  const table = make("table");
  if (state.find) table.append(make("tbody", {}, make("tr", {}, make("td", {}, wallOf(found, 400)))));
  else fillTable(table, found);
  box.replaceChildren(table);
  order_ = [...box.querySelectorAll(".tile")];
  const n = found.length, all = PICTURES.length;
  byId("png").disabled = byId("csv").disabled = n === 0;
  byId("told").textContent = n === 0 ? "No picture of the study is all of this. Take something back under “Only”." : tellWhat(n, all);
  drawTraining();
  drawControls();
  toHash();
}
function tellWhat(n, all) {
  if (state.find) return `The ${n} pictures with the ${state.find.end} reading of ${state.find.measure}, of ${all}.`;
  const claim = DATA.claims.find(c => c.key === state.claim);
  return `${n} of ${all} pictures` + (claim ? `: those behind “${claim.say}” (${claim.outcome}).` : ".");
}
function wallOf(found, most) {
  const wall = make("div", { className: "tiles" }, ...found.slice(0, most).map(tileOf));
  wall.style.setProperty("--across", most > MOST_IN_A_CELL ? 12 : 8);
  if (found.length > most) wall.append(make("span", { className: "more", textContent: `and ${found.length - most} more` }));
  return wall;
}
function fillTable(table, found) {
  const { cols, rows, colGroups, rowGroups } = state;
  const outer = valuesOf(found, colGroups), across = outer.map(o => [o, valuesOf(cellOf(found, [[colGroups, o]]), cols)]);
  const head = make("thead");
  if (colGroups) head.append(make("tr", {}, make("td"), ...across.map(([o, inner]) => make("th", { scope: "colgroup", colSpan: inner.length, textContent: word(colGroups, o) }))));
  if (cols) head.append(make("tr", {}, make("td"), ...across.flatMap(([, inner]) => inner.map(value => make("th", { scope: "col", textContent: word(cols, value) })))));
  table.append(head);
  const body = make("tbody");
  for (const group of valuesOf(found, rowGroups)) {
    const within = cellOf(found, [[rowGroups, group]]);
    if (rowGroups && within.length) body.append(make("tr", { className: "group" }, make("th", { scope: "rowgroup", colSpan: 1 + across.reduce((n, [, inner]) => n + inner.length, 0), textContent: word(rowGroups, group) })));
    for (const value of valuesOf(within, rows)) {
      const row = make("tr", {}, make("th", { scope: "row", textContent: rows ? word(rows, value) : "" })), here = cellOf(within, [[rows, value]]);
      for (const [o, inner] of across) inner.forEach((column, k) => row.append(make("td", { className: colGroups && k === 0 ? "first" : "" }, wallOf(cellOf(here, [[colGroups, o], [cols, column]]), MOST_IN_A_CELL))));
      body.append(row);
    }
  }
  table.append(body);
}
function drawTraining() {
  const arms = new Set(chosen().map(p => p.arm)), box = byId("training");
  const sets = Object.entries(DATA.training).filter(([arm]) => arms.has(arm));
  box.replaceChildren(...(sets.length > 4 ? [] : sets).map(([arm, set]) => {
    const tiles = Array.from({ length: set.n }, (_, at) => { const i = make("i", { title: (DATA.captions[arm] || [])[at] || "" }); paint(i, set.sheet, at); return i; });
    return make("div", { className: "set" }, make("p", { className: "quiet", style: "width:100%", textContent: `what ${arm} was trained on (${set.n})` }), ...tiles);
  }));
}

// --- the panel -----------------------------------------------------------------------------------------------------------
function options(select, values, current) { select.replaceChildren(...values.map(([value, says]) => make("option", { value, textContent: says, selected: value === current }))); }
function drawControls() {
  const axes = [["", "–"], ...DIMENSIONS.filter(d => VALUES[d].length > 1).map(d => [d, CALLED[d]])];
  for (const name of ["cols", "rows", "colGroups", "rowGroups"]) options(byId(name), axes, state[name]);
  const measures = DATA.measures.map(m => [m, m]);
  options(byId("below"), [["", "nothing"], ...measures], state.below);
  options(byId("find"), measures, state.find ? state.find.measure : byId("find").value);
  byId("size").value = state.size;
  byId("based").checked = state.based;
  byId("pins").replaceChildren(...DIMENSIONS.filter(d => VALUES[d].length > 1).map(d => {
    const select = make("select");
    options(select, [["", "all"], ...VALUES[d].map(v => [pinOf(v), d === "arm" || d === "prompt" ? word(d, v) : d === "step" ? word(d, v) : String(v)])], state.pins[d]);
    select.addEventListener("change", () => { state.pins[d] = select.value; draw(); });
    return make("label", {}, CALLED[d], select);
  }));
  const ranks = ["supported", "leaning", "contradicted", "open", "not_measurable"];
  const claims = [...DATA.claims].sort((a, b) => ranks.indexOf(a.kind) - ranks.indexOf(b.kind));
  byId("claims").replaceChildren(...claims.map(claim => {
    const button = make("button", { type: "button", className: "claim" }, make("span", { textContent: claim.say }), make("br"), make("span", { className: `chip ${claim.kind}`, textContent: claim.outcome }));
    button.setAttribute("aria-pressed", String(state.claim === claim.key));
    button.addEventListener("click", () => { if (state.claim === claim.key) state = { ...begun(), size: state.size }; else chooseClaim(claim.key); draw(); });
    return button;
  }));
  byId("claimPanel").hidden = DATA.claims.length === 0;
}
for (const name of ["cols", "rows", "colGroups", "rowGroups"]) byId(name).addEventListener("change", () => {
  const taken = ["cols", "rows", "colGroups", "rowGroups"].find(other => other !== name && state[other] === byId(name).value && state[other] !== "");
  if (taken) state[taken] = state[name]; // the two change places: no dimension stands on two axes
  state[name] = byId(name).value;
  state.find = null;
  draw();
});
byId("below").addEventListener("change", () => { state.below = byId("below").value; draw(); });
byId("size").addEventListener("input", () => { state.size = Number(byId("size").value); byId("grid").style.setProperty("--tile", `${state.size}px`); toHash(); });
byId("based").addEventListener("change", () => { state.based = byId("based").checked; draw(); });
byId("search").addEventListener("click", () => { if (byId("find").value) { state.find = { measure: byId("find").value, end: byId("end").value, most: Number(byId("most").value) || 10 }; state.pins.training = ""; draw(); } });
byId("reset").addEventListener("click", () => { state = begun(); draw(); });
byId("form").addEventListener("submit", event => event.preventDefault());

// --- looking closer ------------------------------------------------------------------------------------------------------
let close_ = null, beat = null;
function lookAt(number) {
  const p = PICTURES[number], base = baseOf(p), dialog = byId("closer");
  close_ = number;
  byId("closerTitle").textContent = `${p.arm}: ${word("prompt", p.prompt)}`;
  byId("ownSays").textContent = sayPicture(p);
  byId("own").setAttribute("aria-label", sayPicture(p));
  paintLarge(byId("own"), p);
  byId("beside").hidden = !base || base === p;
  if (base && base !== p) { paintLarge(byId("other"), base); byId("other").setAttribute("aria-label", sayPicture(base)); }
  byId("readings").tBodies[0].replaceChildren(...DATA.measures.map((measure, m) => [measure, p.values[m], base && base !== p ? base.values[m] : "", DATA.units[m]]).filter(([, own]) => own !== "" && own !== undefined).map(([measure, own, other, unit]) => make("tr", {},
    make("th", { scope: "row", textContent: unit ? `${measure} (${unit})` : measure }), make("td", { textContent: sayValue(own) }), make("td", { textContent: sayValue(other) }),
    make("td", { textContent: typeof own === "number" && typeof other === "number" ? sayValue(Number((own - other).toPrecision(3))) : "–" }))));
  if (!dialog.open) dialog.showModal();
}
function paintLarge(element, p) { if (p.large) paint(element, `${p.sheet}-${p.at}`, 0); else paint(element, p.sheet, p.at); }
function move(by) {
  const at = order_.findIndex(tile => Number(tile.dataset.number) === close_), next = order_[(at + by + order_.length) % order_.length];
  if (next) lookAt(Number(next.dataset.number));
}
function flicker(on) {
  clearInterval(beat);
  beat = null;
  byId("flicker").setAttribute("aria-pressed", String(on));
  const p = PICTURES[close_], base = p && baseOf(p);
  let other = false;
  if (on && base && base !== p) beat = setInterval(() => { other = !other; paintLarge(byId("own"), other ? base : p); byId("ownSays").textContent = other ? "the base at the same seed" : sayPicture(p); }, 600);
  else if (p) { paintLarge(byId("own"), p); byId("ownSays").textContent = sayPicture(p); }
}
byId("table").addEventListener("click", event => { const tile = event.target.closest(".tile"); if (tile) lookAt(Number(tile.dataset.number)); });
byId("close").addEventListener("click", () => byId("closer").close());
byId("closer").addEventListener("close", () => { flicker(false); zoom(1); const tile = order_.find(t => Number(t.dataset.number) === close_); if (tile) tile.focus(); });
byId("before").addEventListener("click", () => { flicker(false); move(-1); });
byId("after").addEventListener("click", () => { flicker(false); move(1); });
byId("flicker").addEventListener("click", () => flicker(byId("flicker").getAttribute("aria-pressed") !== "true"));

// --- zoom: both pictures at once, moved together ---------------------------------------------------------------------------
const MOST_ZOOM = 8, windows = [...document.querySelectorAll(".window")];
let zoomed = 1;
function zoom(to) {
  const times = Math.min(MOST_ZOOM, Math.max(1, to)) / zoomed;
  const middles = windows.map(w => [w.scrollLeft + w.clientWidth / 2, w.scrollTop + w.clientHeight / 2]);
  zoomed *= times;
  byId("closer").style.setProperty("--zoom", zoomed);
  windows.forEach((w, n) => { w.scrollLeft = middles[n][0] * times - w.clientWidth / 2; w.scrollTop = middles[n][1] * times - w.clientHeight / 2; });
  byId("zoomed").textContent = `${Number(zoomed.toFixed(1))} ×`;
}
for (const own of windows) {
  own.addEventListener("scroll", () => windows.forEach(other => { if (other !== own && other.clientWidth) { other.scrollLeft = own.scrollLeft; other.scrollTop = own.scrollTop; } }));
  own.addEventListener("wheel", event => { event.preventDefault(); zoom(zoomed * (event.deltaY < 0 ? 1.25 : 0.8)); }, { passive: false });
  own.addEventListener("pointerdown", event => { if (zoomed > 1 && event.pointerType === "mouse") { own.setPointerCapture(event.pointerId); event.preventDefault(); } });
  own.addEventListener("pointermove", event => { if (own.hasPointerCapture(event.pointerId)) { own.scrollLeft -= event.movementX; own.scrollTop -= event.movementY; } });
}
byId("zoomIn").addEventListener("click", () => zoom(zoomed * 2));
byId("zoomOut").addEventListener("click", () => zoom(zoomed / 2));
const ZOOM_KEYS = { "+": () => zoom(zoomed * 2), "=": () => zoom(zoomed * 2), "-": () => zoom(zoomed / 2), 0: () => zoom(1) };

// --- keys ----------------------------------------------------------------------------------------------------------------
function neighbour(tile, key) {
  const at = order_.indexOf(tile);
  if (key === "ArrowRight") return order_[at + 1];
  if (key === "ArrowLeft") return order_[at - 1];
  const own = tile.getBoundingClientRect(), down = key === "ArrowDown";
  const there = order_.map(t => [t, t.getBoundingClientRect()]).filter(([, r]) => (down ? r.top >= own.bottom - 1 : r.bottom <= own.top + 1));
  if (!there.length) return undefined;
  const edge = down ? Math.min(...there.map(([, r]) => r.top)) : Math.max(...there.map(([, r]) => r.bottom));
  const line = there.filter(([, r]) => Math.abs((down ? r.top : r.bottom) - edge) < 2);
  return line.reduce((best, each) => (Math.abs(each[1].left - own.left) < Math.abs(best[1].left - own.left) ? each : best))[0];
}
document.addEventListener("keydown", event => {
  const typing = event.target.closest("input, select, textarea");
  if (event.key.toLowerCase() === "b" && !typing && !event.ctrlKey && !event.metaKey && !event.repeat) { if (byId("closer").open) { flicker(!beat); return; } state.based = true; repaint(); return; }
  if (byId("closer").open && ZOOM_KEYS[event.key] && !event.ctrlKey && !event.metaKey) { ZOOM_KEYS[event.key](); event.preventDefault(); return; }
  if (byId("closer").open && zoomed > 1 && event.target.closest(".window")) return; // the arrows move the enlarged picture
  if (byId("closer").open) { if (event.key === "ArrowRight" || event.key === "ArrowLeft") { flicker(false); move(event.key === "ArrowRight" ? 1 : -1); event.preventDefault(); } return; }
  const tile = event.target.closest(".tile");
  if (tile && event.key.startsWith("Arrow")) { const next = neighbour(tile, event.key); if (next) { next.focus(); next.scrollIntoView({ block: "nearest", inline: "nearest" }); } event.preventDefault(); }
});
document.addEventListener("keyup", event => { if (event.key.toLowerCase() === "b" && !event.target.closest("input, select, textarea") && !byId("closer").open) { state.based = byId("based").checked; repaint(); } });
function repaint() {
  for (const tile of order_) { const p = PICTURES[Number(tile.dataset.number)]; tile.classList.toggle("based", state.based && p.base !== ""); seen.unobserve(tile); seen.observe(tile); }
}

// --- saving --------------------------------------------------------------------------------------------------------------
function save(name, blob) { const link = make("a", { href: URL.createObjectURL(blob), download: name }); link.click(); setTimeout(() => URL.revokeObjectURL(link.href), 10000); }
const quoted = value => { const text = value === null || value === undefined ? "" : String(value); return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text; };
function csvText(found) {
  const lines = [["arm", "prompt", "training", "seed", "strength", "step", ...DATA.measures]];
  for (const p of found) lines.push([p.arm, p.prompt, p.training, p.seed, p.base === "" ? "" : p.strength, p.step, ...DATA.measures.map((_, m) => p.values[m])]);
  return lines.map(line => line.map(quoted).join(",")).join("\r\n") + "\r\n";
}
byId("csv").addEventListener("click", () => save(`${DATA.study}-readings.csv`, new Blob(["\ufeff" + csvText(chosen())], { type: "text/csv;charset=utf-8" })));
byId("png").addEventListener("click", async () => {
  const box = byId("table").firstChild.getBoundingClientRect(), scale = Math.min(2, 8000 / Math.max(box.width, box.height)), colours = getComputedStyle(document.documentElement);
  const canvas = make("canvas", { width: Math.ceil(box.width * scale), height: Math.ceil(box.height * scale) }), pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  pen.fillStyle = colours.getPropertyValue("--paper");
  pen.fillRect(0, 0, box.width, box.height);
  pen.fillStyle = colours.getPropertyValue("--ink");
  pen.imageSmoothingEnabled = false;
  for (const cell of byId("table").querySelectorAll("th, .tile span, .more")) { const r = cell.getBoundingClientRect(); pen.font = getComputedStyle(cell).font; pen.textBaseline = "bottom"; pen.fillText(cell.textContent, r.left - box.left, r.bottom - box.top - 1, r.width); }
  for (const tile of order_) {
    const p = shownPicture(PICTURES[Number(tile.dataset.number)]), found = await fetched(p.sheet), r = tile.firstChild.getBoundingClientRect(), side = found.side;
    pen.drawImage(found.image, (p.at % DATA.columns) * side, Math.floor(p.at / DATA.columns) * side, side, side, r.left - box.left, r.top - box.top, r.width, r.height);
  }
  canvas.toBlob(blob => save(`${DATA.study}-pictures.png`, blob), "image/png");
});

window.addEventListener("hashchange", () => { fromHash(); draw(); });
if (matchMedia("(max-width: 760px)").matches) { byId("panel").open = false; byId("claimPanel").open = false; }
fromHash();
draw();
