// The page: what it knows of the server, and what hands do outside of a photo.

import { Editor } from "/page/editor.js";
import { Queue } from "/page/queue.js";
import * as server from "/page/server.js";

const get = (id) => document.getElementById(id);
const photos = new Map();
const jobs = new Map();
const uploads = [];
let current = location.hash.slice(1);
let editor = null;
let scheduled = false;

const queue = new Queue(get("queue"), get("photos-title"), {
  open: (photo) => { open(photo.id); get("stage").scrollIntoView({ block: "nearest" }); },
  remove: (photo) => attempt(server.remove(photo.id)),
  cancel: (job) => attempt(server.cancel(job.id)),
});

function open(id) {
  current = id;
  history.replaceState(null, "", id ? `#${id}` : "/");
  render();
}

async function attempt(promise) {
  try {
    return await promise;
  } catch (error) {
    tell(error.message);
    return null;
  }
}

function tell(sentence) {
  const line = document.createElement("p");
  const text = Object.assign(document.createElement("span"), { textContent: sentence });
  const close = Object.assign(document.createElement("button"), { type: "button", textContent: "×" });
  close.setAttribute("aria-label", "Dismiss");
  close.onclick = () => { line.remove(); render(); };
  line.append(text, close);
  get("errors").append(line);
  render();
}

// ---- what is shown -------------------------------------------------------------------------------------------------

function render() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => { scheduled = false; draw(); });
}

function draw() {
  if (!editor) return;
  const sorted = [...photos.values()].sort((one, other) => one.number - other.number);
  const ordered = [...jobs.values()].sort((one, other) => one.number - other.number);
  const waiting = ordered.filter((job) => job.state === "queued");
  const running = ordered.some((job) => job.state === "running") ? 1 : 0;
  if (!photos.has(current)) current = sorted[0]?.id ?? "";
  const entries = sorted.map((photo) => {
    const own = ordered.filter((job) => job.photo === photo.id);
    const last = (...states) => own.findLast(({ state }) => states.includes(state));
    const job = last("queued", "running") ?? last("done") ?? own.at(-1);
    const place = waiting.indexOf(job) + running;
    return { photo: { ...photo, place }, own, job, place, current: photo.id === current };
  });
  queue.show(entries, uploads);
  const empty = !entries.length && !uploads.length && !get("errors").children.length;
  document.querySelector("main").classList.toggle("empty", empty);
  get("welcome").hidden = entries.length > 0;
  get("stage").hidden = entries.length === 0;
  const shown = entries.find((entry) => entry.current);
  if (shown) editor.open(shown.photo, shown.own);
  document.title = shown ? `${shown.photo.name} – DP-IR` : "DP-IR";
}

// ---- photos in -----------------------------------------------------------------------------------------------------

async function add(groups) {
  for (const files of groups) uploads.push({ files });
  render();
  while (uploads.some((entry) => !entry.begun)) {
    const entry = uploads.find(({ begun }) => !begun);
    entry.begun = true;
    await take(entry.files);
    uploads.splice(uploads.indexOf(entry), 1);
    render();
  }
}

async function take(files) {
  let photo = null;
  for (const file of files) {
    const name = file.name || `pasted.${file.type.split("/")[1]}`;
    const limit = editor.limits.max_bytes;
    if (file.size > limit) {
      tell(`${name} has ${Math.round(file.size / 1e6)} MB, expected at most ${Math.round(limit / 1e6)}: make it smaller.`);
      continue;
    }
    const sent = await attempt(server.upload(file, name, photo?.id, () => {}));
    photo ??= sent;
  }
  if (!photo) return;
  photos.set(photo.id, photo);
  if (photos.size === 1 || !jobs.size) open(photo.id);
  if (!photo.burst) await attempt(server.restore({ photo: photo.id })); // of a burst, the preview shows whether it is worth it
}

// Ordinary photos one by one; RAW files that come together are one burst.
function grouped(files) {
  const raw = files.filter((file) => server.isRaw(file.name)).sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  const others = files.filter((file) => !server.isRaw(file.name)).map((file) => [file]);
  return raw.length ? [raw, ...others] : others;
}

async function dropped(items) {
  const entries = [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const groups = [];
  const files = async (entry) => {
    if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
    const reader = entry.createReader();
    const found = [];
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) break;
      found.push(...some);
    }
    const below = found.filter(({ isDirectory }) => isDirectory);
    for (const folder of below) groups.push(...grouped(await files(folder)));
    const own = await Promise.all(found.filter(({ isFile }) => isFile).map(files));
    return own.flat().filter(({ name }) => !name.startsWith("."));
  };
  const loose = [];
  for (const entry of entries) {
    if (entry.isFile) loose.push(...await files(entry));
    else groups.push(...grouped(await files(entry)));
  }
  return [...grouped(loose), ...groups];
}

function hands() {
  for (const id of ["add", "choose"]) get(id).onclick = () => get("files").click();
  get("files").onchange = (event) => { add(grouped([...event.target.files])); event.target.value = ""; };
  addEventListener("paste", (event) => add(grouped([...event.clipboardData.files])));
  let depth = 0;
  const over = (change) => { depth = change; get("drop").hidden = depth <= 0; };
  addEventListener("dragenter", (event) => { if (event.dataTransfer.types.includes("Files")) over(depth + 1); });
  addEventListener("dragleave", () => over(Math.max(depth - 1, 0)));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", async (event) => {
    event.preventDefault();
    over(0);
    const plain = [...event.dataTransfer.files];
    const groups = await dropped(event.dataTransfer.items);
    add(groups.length ? groups : grouped(plain));
  });
  addEventListener("keydown", key);
  addEventListener("keyup", (event) => { if (event.key.toLowerCase() === "b") editor.viewer.onlyBefore = false; });
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, input:not([type=range])")) return;
  if (!editor.photo) return;
  const dial = (step) => {
    get("detail").value = Number(get("detail").value) + step;
    get("detail").dispatchEvent(new Event("input"));
  };
  const go = (step) => {
    const ids = [...photos.values()].sort((a, b) => a.number - b.number).map(({ id }) => id);
    const next = ids[ids.indexOf(current) + step];
    if (next) open(next);
  };
  const actions = {
    b: () => { editor.viewer.onlyBefore = true; }, 1: () => editor.viewer.zoomTo(1), 0: () => editor.viewer.fit(),
    "+": () => get("zoom-in").click(), "=": () => get("zoom-in").click(), "-": () => get("zoom-out").click(),
    "[": () => dial(-0.05), "]": () => dial(0.05), n: () => get("another").click(), u: () => get("unsure").click(),
    j: () => go(1), k: () => go(-1),
  };
  const action = actions[event.key.toLowerCase()];
  if (!action || (event.repeat && "nub".includes(event.key.toLowerCase()))) return;
  event.preventDefault();
  action();
}

// ---- beginning -----------------------------------------------------------------------------------------------------

async function begin() {
  const limits = await attempt(server.about());
  if (!limits) return;
  editor = new Editor(limits, (sentence, job) => {
    if (sentence) tell(sentence);
    if (job) { jobs.set(job.id, job); render(); }
  });
  editor.limits = limits;
  hands();
  server.listen({
    all: (everything) => {
      photos.clear();
      jobs.clear();
      for (const photo of everything.photos) photos.set(photo.id, photo);
      for (const job of everything.jobs) jobs.set(job.id, job);
      render();
    },
    photo: (photo) => { photos.set(photo.id, photo); render(); },
    job: (job) => { jobs.set(job.id, job); render(); },
    gone: (id) => { photos.delete(id); jobs.delete(id); render(); },
  }, (connected) => {
    get("connection").textContent = connected ? "" : "The server does not answer: is dp-ir serve still running?";
  });
  render();
}

begin();
