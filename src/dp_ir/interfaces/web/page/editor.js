// One photo: what the view shows of it, and its controls.

import { Part, Tiles } from "/page/layers.js";
import * as server from "/page/server.js";
import { Viewer } from "/page/viewer.js";
import { TASKS, megabytes, standing } from "/page/words.js";

const get = (id) => document.getElementById(id);
const SETTLE = 250; // milliseconds that the view rests before a preview is asked for
const LARGEST = [640, 512]; // pixels of the first preview; what is asked for later may be larger
const LARGER = [1024, 768];
const RESTORING = "Restoring what you see ...";

export class Editor {
  #about; #photo = null; #job = null; #jobs = []; #preview = null; #asking = null; #timer = 0; #told; #seed = 0;
  #spread = ""; #drawn = ""; #newest = 0; #pending = false;

  constructor(about, told) {
    this.#about = about;
    this.#told = told; // given a sentence that says what went wrong
    this.viewer = new Viewer(get("canvas"), get("divider"), { moved: () => this.#moved() });
    get("detail").oninput = () => this.#dialled();
    get("task").onchange = () => { this.#sizes(); this.#changed(); };
    get("size").onchange = () => this.#buttons();
    get("remake").onclick = () => this.restore();
    get("cancel").onclick = () => this.#job && this.#try(server.cancel(this.#job.id));
    get("another").onclick = () => this.another();
    get("unsure").onclick = () => this.unsure();
    get("copy").onclick = () => this.#copy();
    get("zoom-in").onclick = () => this.viewer.zoomTo(this.viewer.zoom * 1.5);
    get("zoom-out").onclick = () => this.viewer.zoomTo(this.viewer.zoom / 1.5);
    get("zoom-one").onclick = () => this.viewer.zoomTo(1);
    get("zoom-fit").onclick = () => this.viewer.fit();
  }

  get photo() { return this.#photo; }
  get #detail() { return Number(get("detail").value); }
  get #task() { return get("task").value; }
  get #scale() { return get("size").value ? Number(get("size").value) : null; }

  open(photo, jobs) {
    const other = photo.id !== this.#photo?.id;
    const before = this.#photo;
    const grown = !other && before.frames !== photo.frames; // a burst, frame by frame
    this.#photo = photo;
    this.#jobs = jobs;
    if (other) {
      this.#preview = null;
      this.#asking?.abort();
      this.#pending = false;
      get("shown").textContent = "";
      this.#drawn = "";
      get("unsure").setAttribute("aria-pressed", "false");
      this.#job = jobs.findLast((job) => job.state === "done") ?? jobs.at(-1) ?? null;
      this.#tasks();
      this.#take(this.#job);
    } else {
      const newest = jobs.at(-1) ?? null;
      const same = jobs.find((job) => job.id === this.#job?.id);
      const switched = (newest?.number ?? 0) > this.#newest || (this.#job && !same);
      this.#job = switched ? newest : same ?? null;
      if (switched) this.#take(this.#job);
    }
    const kept = jobs.findLast((job) => job.state === "done");
    if (this.#job?.state === "cancelled" && kept) { this.#job = kept; this.#take(kept); }
    this.#newest = jobs.at(-1)?.number ?? 0;
    get("advice").textContent = photo.advice;
    if ((other || grown) && !this.#shown) this.#ask(LARGEST);
    const seen = before?.levels !== photo.levels || before?.width !== photo.width;
    this.#draw({ keep: !other, start: other || (seen && !this.#preview) });
    this.#say();
    if (get("unsure").getAttribute("aria-pressed") === "true") this.#more();
  }

  // The job whose result is shown: while a file is made with another detail, the one before.
  get #shown() {
    const asked = this.#job;
    if (!asked || asked.state === "done") return asked;
    return this.#jobs.findLast((job) => job.state === "done"
      && (asked.state === "failed" || ["task", "seed", "scale"].every((name) => job[name] === asked[name]))) ?? null;
  }

  // ---- what is asked of the server ---------------------------------------------------------------------------------

  async restore() {
    const wish = { photo: this.#photo.id, task: this.#task, detail: this.#detail, seed: this.#seed, scale: this.#scale };
    const job = await this.#try(server.restore(wish));
    if (job) this.#told(null, job);
  }

  another() {
    this.#seed += 1;
    this.#preview = null;
    this.restore();
    this.#ask(LARGEST);
  }

  unsure() {
    const on = get("unsure").getAttribute("aria-pressed") !== "true";
    get("unsure").setAttribute("aria-pressed", on);
    if (on) this.#more(true);
    this.#draw({ keep: true });
    this.#say();
  }

  // Have further samples drawn, once for each job, unless a person asks again.
  #more(again = false) {
    const job = this.#job;
    if (job?.state !== "done" || job.layers.includes("unsure") || (this.#spread === job.id && !again)) return;
    this.#spread = job.id;
    this.#try(server.spread(job.id));
  }

  async #try(promise) {
    try {
      return await promise;
    } catch (error) {
      this.#told(error.message);
      return null;
    }
  }

  #moved() {
    get("zoom").textContent = `${Math.round(100 * this.viewer.zoom)} %`;
    if (!this.#photo || this.#shown || this.#pending || this.#covered()) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(LARGER), SETTLE);
  }

  // Whether the preview shows all that is seen, or as much of it as a preview can.
  #covered() {
    if (!this.#preview) return false;
    const { x, y, width, height } = this.viewer.visible;
    const [w, h] = [Math.min(width, LARGEST[0]), Math.min(height, LARGEST[1])];
    const { x: left, y: top, width: across, height: down, wholeWidth, wholeHeight } = this.#preview;
    const [cx, cy] = [x * wholeWidth, y * wholeHeight];
    return cx - w / 4 >= left - 1 && cx + w / 4 <= left + across + 1 && cy - h / 4 >= top - 1 && cy + h / 4 <= top + down + 1;
  }

  async #ask(largest) {
    if (!this.#photo || this.#photo.reason) return;
    clearTimeout(this.#timer);
    this.#asking?.abort();
    const asking = (this.#asking = new AbortController());
    const { x, y, width, height } = this.#drawn ? this.viewer.visible : { x: 0.5, y: 0.5, width: 4000, height: 4000 };
    const canvas = get("canvas");
    const side = (seen, pixels, most) => Math.round(Math.max(Math.min(seen, pixels, most), 16));
    const full = this.#detail > this.#default();
    const photo = this.#photo.id;
    this.#pending = true;
    get("shown").textContent = RESTORING;
    let made;
    try {
      made = await server.preview({
        photo, task: this.#task, seed: this.#seed, x, y, full,
        width: side(width, canvas.width, largest[0]), height: side(height, canvas.height, largest[1]),
      }, asking.signal);
    } catch (error) {
      if (asking.signal.aborted) return;
      this.#pending = false;
      get("shown").textContent = error.message;
      return;
    }
    if (asking.signal.aborted) return;
    this.#pending = false;
    if (get("shown").textContent === RESTORING) get("shown").textContent = ""; // else it says something newer
    if (photo !== this.#photo?.id) return;
    this.#preview = made;
    this.#draw({ keep: true });
    this.#say();
  }

  // ---- what is seen ------------------------------------------------------------------------------------------------

  #draw({ keep, start = false }) {
    const photo = this.#photo;
    const job = this.#shown;
    const scale = this.#about.tasks.find(({ task }) => task === this.#task)?.scale ?? 1;
    let size = null;
    if (job) size = [job.width, job.height];
    else if (this.#preview) size = [this.#preview.wholeWidth, this.#preview.wholeHeight];
    else if (photo.width) size = [Math.round(photo.width * scale), Math.round(photo.height * scale)];
    if (!size) {
      this.viewer.show([1, 1], {});
      return;
    }
    const kept = keep && this.#drawn !== "";
    const before = photo.levels
      ? [new Tiles(`/api/photos/${photo.id}/tiles`, photo.width, photo.height, photo.levels, size[0] / photo.width)] : [];
    const layers = { before };
    let frame = null;
    const detail = this.#detail;
    if (job) {
      const tiles = (name, apron) => new Tiles(`/api/jobs/${job.id}/layers/${name}`, job.width, job.height, job.levels, 1, apron);
      const has = (name) => job.layers.includes(name);
      const [low, high, from, to] = detail > job.detail && has("full")
        ? ["image", "full", job.detail, 1] : ["restored", "image", 0, job.detail];
      layers.low = [tiles(has(low) ? low : "image")];
      if (has(low)) layers.high = [tiles(high)];
      this.viewer.share = to > from ? Math.min((detail - from) / (to - from), 1) : 1;
      if (has("unsure")) layers.overlay = [tiles("unsure", false)];
    } else if (this.#preview && this.#preview.wholeWidth === size[0]) {
      const { x, y, width, height, parts, detail: middle } = this.#preview;
      const part = (index) => new Part(parts[index], x, y);
      const beyond = detail > middle && parts.length > 3;
      layers.before = [...before, part(0)];
      layers.low = [...before, part(beyond ? 2 : 1)];
      layers.high = [...before, part(beyond ? 3 : 2)];
      this.viewer.share = beyond ? (detail - middle) / (1 - middle) : Math.min(detail / (middle || 1), 1);
      if (width < size[0] || height < size[1]) frame = [x, y, width, height];
    }
    this.viewer.overlay = get("unsure").getAttribute("aria-pressed") === "true" && detail > 0;
    this.#drawn = `${photo.id}`;
    this.viewer.show(size, layers, { keep: kept, frame });
    if ((start || !kept) && !job) this.viewer.zoomTo(1);
    else if (!kept) this.viewer.fit();
    get("before-chip").hidden = get("after-chip").hidden = !layers.low;
  }

  #say() {
    const photo = this.#photo;
    const job = this.#job;
    const waiting = photo.place ?? 0;
    const state = get("state");
    const spreading = ["queued", "running"].includes(job?.spread);
    state.classList.toggle("bad", Boolean(photo.reason) || job?.state === "failed" || job?.spread === "failed");
    if (photo.reason) state.textContent = photo.reason;
    else if (spreading) state.textContent = `Drawing further samples, ${Math.round(100 * job.share)} %`;
    else if (job?.spread === "failed") state.textContent = job.reason;
    else state.textContent = job ? standing(job, waiting) : "Only the part that you see is restored so far.";
    const busy = job?.state === "running" || spreading;
    get("progress").hidden = !busy;
    get("progress").value = job?.share ?? 0;
    const ready = job?.state === "done" && job.layers.includes("unsure");
    get("legend").hidden = !(ready && this.#detail > 0 && get("unsure").getAttribute("aria-pressed") === "true");
    get("notes").replaceChildren(...(job?.notes ?? []).map((note) => Object.assign(document.createElement("li"), { textContent: note })));
    this.#versions();
    this.#buttons();
  }

  #buttons() {
    const job = this.#job;
    const detail = this.#detail;
    get("detail-value").textContent = detail.toFixed(2);
    const same = job && job.task === this.#task && job.detail === detail && job.scale === this.#scale;
    const done = job?.state === "done";
    const active = ["queued", "running"].includes(job?.state) || ["queued", "running"].includes(job?.spread);
    get("download").hidden = !(done && same);
    if (done) {
      get("download").href = `/api/jobs/${job.id}/result`;
      get("download").textContent = `Download ${job.result} (${megabytes(job.bytes)})`;
    }
    get("remake").hidden = Boolean(this.#photo?.reason) || (same && (done || active));
    get("remake").textContent = job ? "Make the file like this" : "Restore the whole";
    get("cancel").hidden = !active;
    get("another").disabled = detail === 0; // nothing is made up, so that there is no other
    get("unsure").disabled = !done || detail === 0;
    get("copy").disabled = !same;
    const shown = done ? job.detail : this.#default();
    get("detail-note").textContent = this.#photo?.reason || !(this.#shown || this.#preview) ? ""
      : detail === 0 ? "Nothing is made up here: every sample is the same."
      : detail === shown && done ? "The file is like this."
      : detail <= shown ? "A file that is made like this will look as you see it."
      : "A file that is made like this may differ a little from what you see.";
  }

  #versions() {
    const done = this.#jobs.filter((job) => job.state === "done");
    get("versions").hidden = done.length === 0 || (done.length === 1 && done[0] === this.#job);
    get("versions").replaceChildren(...done.map((job, index) => {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: `Version ${index + 1}: detail ${job.detail}, seed ${job.seed}` });
      button.title = TASKS[job.task];
      button.setAttribute("aria-pressed", job === this.#job);
      button.onclick = () => { this.#job = job; this.#take(job); this.#draw({ keep: true }); this.#say(); };
      return button;
    }));
  }

  // ---- controls ----------------------------------------------------------------------------------------------------

  #default() { return this.#about.tasks.find(({ task }) => task === this.#task)?.detail ?? 0.25; }

  #dialled() {
    const job = this.#shown;
    if (job && this.#detail > job.detail) this.#more();
    if (!job && this.#detail > this.#default() && this.#preview && this.#preview.parts.length < 4) {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#ask(LARGEST), SETTLE);
    }
    this.#draw({ keep: true });
    this.#buttons();
  }

  #changed() {
    get("detail").value = this.#default();
    this.#preview = null;
    this.#job = null;
    this.#draw({ keep: true });
    this.#say();
    this.#ask(LARGEST);
  }

  #tasks() {
    const offered = this.#photo.burst ? ["burst"] : Object.keys(TASKS).filter((task) => task !== "burst");
    get("task").replaceChildren(...offered.map((task) => new Option(
      TASKS[task] + (task === this.#photo.task && !this.#photo.burst ? ": automatic" : ""), task)));
    get("task").value = this.#photo.task;
  }

  #sizes() {
    const { scale } = this.#about.tasks.find(({ task }) => task === this.#task) ?? { scale: 1 };
    const smaller = [scale / 2, scale / 4];
    const name = (factor) => factor === 1 ? "As it is" : factor > 1 ? `${factor} times larger` : `${1 / factor} times smaller`;
    get("size").replaceChildren(new Option(name(scale), ""), ...smaller.map((factor) => new Option(name(factor), factor)));
  }

  // Put the controls as they were for a job.
  #take(job) {
    if (job) get("task").value = job.task;
    this.#sizes();
    get("size").value = job?.scale ?? "";
    get("detail").value = job?.detail ?? this.#default();
    this.#seed = Math.max(0, ...this.#jobs.map(({ seed }) => seed), job?.seed ?? 0);
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(this.#job.command);
      get("shown").textContent = `Copied: ${this.#job.command}`;
    } catch {
      get("shown").textContent = this.#job.command;
    }
    setTimeout(() => { get("shown").textContent = ""; }, 6000);
  }
}
