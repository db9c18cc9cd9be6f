"use strict";
// The page of `loralab view`: asks the server under the same token, and builds everything from text nodes; nothing is ever parsed as HTML.

const by = (id) => document.getElementById(id);

function make(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

async function ask(path, body) {
  const how = body === undefined ? {} : { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(path, { ...how, cache: "no-store", credentials: "omit" });
  } catch {
    throw [{ found: "the server does not answer", expected: "", do: "is `loralab view` still running in its terminal?" }];
  }
  if (answer.ok) return answer.json();
  const told = (answer.headers.get("content-type") || "").includes("json") ? await answer.json() : { problems: null };
  throw told.problems || [{ found: `the server could not do that (${answer.status})`, expected: "", do: "its terminal may say why" }];
}

function showMistakes(place, problems) {
  const list = Array.isArray(problems) ? problems : [{ found: String(problems), expected: "", do: "" }];
  place.replaceChildren(...list.map((each) => make("div", { className: "mistake" }, make("div", {}, each.found),
    each.expected ? make("div", { className: "do" }, `expected: ${each.expected}`) : "", each.do ? make("div", { className: "do" }, `hint: ${each.do}`) : "")));
}

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 59.5) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

// --- the lab ---------------------------------------------------------------------------------------------------------

const KINDS = { study: "Study", check: "Check of", watch: "Watching" };
const VERDICTS = { supported: "yes", contradicted: "no", leaning: "some", open: "can't tell yet", not_measurable: "not measurable" };
let shownLab = "";

function runCard(run) {
  const left = run.seconds_left === null ? "" : `, about ${duration(run.seconds_left)} left of this stage`;
  const share = Math.round(100 * run.share);
  return make("div", { className: "run" }, make("h3", {}, `${KINDS[run.kind] || run.kind} ${run.name}`),
    make("p", {}, `${run.stage}: ${share} %${left}`), make("progress", { max: 100, value: share, "aria-label": `${run.stage} of ${run.name}` }),
    run.note ? make("p", { className: "quiet" }, run.note) : "",
    run.picture ? make("img", { src: `${run.picture}?${Math.round(run.started)}`, alt: `first pictures of ${run.name}` }) : "");
}

const link = (address, text) => (address ? make("a", { href: address }, text) : "");

function studyCard(study) {
  const verdicts = Object.entries(study.verdicts).map(([name, n]) => `${n} ${VERDICTS[name] || name}`).join(", ");
  return make("div", { className: "entry" }, make("h3", {}, study.name),
    make("p", {}, [study.state, study.preset === "none" ? "" : study.preset, verdicts, study.at ? new Date(study.at).toLocaleString() : ""].filter(Boolean).join("; ")),
    make("p", { className: "links" }, link(study.report, "report"), link(study.explorer, "every picture"), link(study.pictures, "first pictures")));
}

function checkCard(check) {
  const when = new Date(1000 * check.at).toLocaleString();
  return make("div", { className: "entry" }, make("h3", {}, check.name), make("p", {}, check.says),
    make("p", { className: "links" }, link(check.page, "page"), make("span", { className: "quiet" }, `${check.n_files} file${check.n_files === 1 ? "" : "s"}, ${when}`)));
}

function listed(place, cards, none) {
  place.replaceChildren(...(cards.length ? cards : [make("p", { className: "quiet" }, none)]));
}

async function showLab() {
  try {
    const lab = await ask("api/lab");
    const text = JSON.stringify(lab);
    if (text !== shownLab) {
      shownLab = text;
      listed(by("runs"), lab.runs.map(runCard), "Nothing is running in this lab.");
      listed(by("study-list"), lab.studies.map(studyCard), "No study yet: `loralab demo` runs one.");
      listed(by("check-list"), lab.checks.map(checkCard), "No check yet: `loralab check FILES_OR_DIR` makes one.");
    }
  } catch (problems) {
    showMistakes(by("runs"), problems);
    shownLab = "";
  }
}

// --- the bench -------------------------------------------------------------------------------------------------------

let offered = null;

function option(value, text, selected = false) {
  return make("option", { value: String(value), textContent: text, selected });
}

function armRow(arm) {
  const name = `${arm.study} ${arm.arm}`;
  const training = make("select", { "aria-label": `training of ${name}`, className: "training" }, ...arm.trainings.map((n) => option(n, `training ${n}`)));
  const step = make("select", { "aria-label": `step of ${name}`, className: "step" }, option("", "the end"), ...arm.steps.map((n) => option(n, `step ${n}`)));
  const box = make("input", { type: "checkbox" });
  const row = make("div", { className: "lora" }, make("label", {}, box, arm.arm), training, arm.steps.length ? step : "");
  row.chosen = () => ({ study: arm.study, arm: arm.arm, training: Number(training.value), step: step.value ? Number(step.value) : null });
  row.box = box;
  return row;
}

function fileRow(path, checked) {
  const box = make("input", { type: "checkbox", checked });
  const row = make("div", { className: "lora" }, make("label", {}, box, path));
  row.chosen = () => ({ file: path });
  row.box = box;
  return row;
}

function showChoices() {
  const parts = [];
  for (const study of new Set(offered.arms.map((arm) => arm.study))) {
    parts.push(make("h3", {}, study), ...offered.arms.filter((arm) => arm.study === study).map(armRow));
  }
  if (offered.files.length) parts.push(make("h3", {}, "files"), ...offered.files.map((path) => fileRow(path, false)));
  if (!parts.length) parts.push(make("p", { className: "quiet" }, "The lab has no LoRA for this base yet; give a file below."));
  parts.push(...offered.notes.map((note) => make("p", { className: "quiet" }, note)));
  by("loras").replaceChildren(...parts);
  by("prompts").replaceChildren(...[...new Set(offered.arms.flatMap((arm) => arm.prompts))].map((prompt) => option(prompt, prompt)));
  by("measure").replaceChildren(...Object.entries(offered.measures).map(([name, says]) => option(name, `${name}: ${says}`, name === "change")));
  for (const name of ["steps", "guidance", "sampler"]) by(name).value = offered.sample[name];
}

function numbers(text, what) {
  return text.trim().split(/[\s,;]+/).filter(Boolean).flatMap((part) => {
    const range = /^(\d+)\s*(?:-|\.\.)\s*(\d+)$/.exec(part);
    if (what === "seeds" && range) {
      const [from, to] = [Number(range[1]), Number(range[2])];
      if (to < from || to - from > 999) throw [{ found: `${what}: ${part} is not a range`, expected: "0-3: from the lower to the higher, at most 1000", do: "" }];
      return Array.from({ length: to - from + 1 }, (_, k) => from + k);
    }
    if (!/^\d*\.?\d+$/.test(part)) throw [{ found: `${what}: ${part} is not a number`, expected: what === "seeds" ? "0-3, or 7 12 40" : "0.6 1", do: "" }];
    return [Number(part)];
  });
}

function asked() {
  const rows = [...document.querySelectorAll(".lora")].filter((row) => row.box.checked);
  return {
    prompt: by("prompt").value, negative: by("negative").value, chosen: rows.map((row) => row.chosen()), strengths: numbers(by("strengths").value, "strengths"),
    seeds: numbers(by("seeds").value, "seeds"), steps: Number(by("steps").value), guidance: Number(by("guidance").value), sampler: by("sampler").value,
  };
}

function strip(row, request, place) {
  const big = offered.size_px > 128;
  const figures = row.pictures.map((picture) => make("figure", {},
    make("img", { src: picture.address, className: big ? "" : "small", alt: `${row.label}${row.strength === null ? "" : ` at strength ${row.strength}`}, seed ${picture.seed}` }),
    make("figcaption", {}, `seed ${picture.seed}`)));
  const label = make("p", { className: "label" }, make("b", {}, row.label), row.strength === null ? "" : `strength ${row.strength}`);
  if (row.strength !== null) {
    const chosen = request.chosen[Math.floor((place - 1) / request.strengths.length)];
    const button = make("button", { type: "button" }, "Keep as a question");
    button.addEventListener("click", () => beginToKeep(chosen, request.prompt, row));
    label.append(button);
  }
  const made = make("div", { className: "shots", tabIndex: 0, role: "group", "aria-label": `pictures of ${row.label}` }, ...figures);
  made.style.setProperty("--side", big ? "180px" : "96px");
  return make("div", { className: "drawn" }, label, made);
}

async function whileDrawing(work) {
  const began = Date.now();
  const timer = setInterval(async () => {
    const seconds = Math.round((Date.now() - began) / 1000);
    try {
      const how = await ask("api/drawing");
      by("told").textContent = how.total ? `Drawing: ${how.done} of ${how.total} pictures, ${seconds} s` : `Drawing, ${seconds} s`;
    } catch { /* the drawing itself will say it */ }
  }, 1000);
  try {
    return await work;
  } finally {
    clearInterval(timer);
  }
}

by("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  by("mistakes").replaceChildren();
  try {
    const request = asked();
    by("draw").disabled = true;
    by("told").textContent = "Drawing.";
    const found = await whileDrawing(ask("api/draw", request));
    by("pictures").replaceChildren(...found.rows.map((row, place) => strip(row, request, place)));
    by("told").textContent = found.drawn ? `${found.drawn} pictures drawn in ${found.seconds} s.` : "All of them had already been drawn.";
  } catch (problems) {
    by("told").textContent = "";
    showMistakes(by("mistakes"), problems);
  } finally {
    by("draw").disabled = false;
  }
});

by("add").addEventListener("click", () => {
  const path = by("file").value.trim().replace(/^"|"$/g, "");
  if (!path) return;
  by("loras").append(fileRow(path, true));
  by("file").value = "";
});
by("file").addEventListener("keydown", (event) => {
  if (event.key === "Enter") { event.preventDefault(); by("add").click(); }
});

// --- keeping ---------------------------------------------------------------------------------------------------------

let keeping = null;

function beginToKeep(chosen, prompt, row) {
  keeping = { chosen, prompt, strength: row.strength };
  by("kept-cell").textContent = `${row.label} at “${prompt}”, strength ${row.strength}`;
  by("dataset-field").hidden = !chosen.file;
  by("keep").hidden = false;
  by("kept").replaceChildren();
  by("say").focus();
}

by("leave").addEventListener("click", () => { by("keep").hidden = true; });
by("keep").addEventListener("submit", async (event) => {
  event.preventDefault();
  by("keep-mistakes").replaceChildren();
  const say = by("say").value.trim();
  const claim = say ? { say, measure: by("measure").value, expect: by("expect").value } : null;
  try {
    const kept = await ask("api/keep", { ...keeping, claim, dataset: by("dataset").value.trim() });
    by("keep").hidden = true;
    by("kept").replaceChildren(make("h3", {}, `Kept in ${kept.file}`), make("pre", { id: "added", tabIndex: 0 }, kept.added || "It was kept there before."),
      make("p", {}, "Run it: ", make("code", {}, kept.run)), ...kept.problems.map((problem) => make("p", { className: "mistake" }, problem)),
      make("details", {}, make("summary", {}, "The whole file"), make("pre", { tabIndex: 0 }, kept.yaml)));
  } catch (problems) {
    showMistakes(by("keep-mistakes"), problems);
  }
});

// --- the beginning ---------------------------------------------------------------------------------------------------

async function begin() {
  await showLab();
  setInterval(showLab, 2000);
  try {
    offered = await ask("api/bench");
    showChoices();
  } catch (problems) {
    showMistakes(by("loras"), problems);
    by("draw").disabled = true;
  }
}

begin();
