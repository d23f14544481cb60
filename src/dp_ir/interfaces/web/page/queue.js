// The list of photos, in the order in which they came.

import { standing } from "/page/words.js";

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export class Queue {
  #list; #title; #rows = new Map(); #handlers;

  constructor(list, title, handlers) {
    this.#list = list;
    this.#title = title;
    this.#handlers = handlers; // open, remove, cancel: given the photo, or the job
  }

  // entries: [{photo, job, place, current}], and uploads: [{name, share}]
  show(entries, uploads) {
    const known = new Set(entries.map(({ photo }) => photo.id));
    for (const [id, row] of this.#rows) if (!known.has(id)) { row.item.remove(); this.#rows.delete(id); }
    entries.forEach((entry, index) => {
      const row = this.#rows.get(entry.photo.id) ?? this.#row(entry.photo.id);
      if (this.#list.children[index] !== row.item) this.#list.insertBefore(row.item, this.#list.children[index] ?? null);
      this.#fill(row, entry);
    });
    const done = entries.filter(({ job }) => job?.state === "done").length;
    this.#title.textContent = `Photos: ${done} of ${entries.length} done`
      + (uploads.length ? `, ${uploads.length} on their way` : "");
  }

  #row(id) {
    const image = make("img", { alt: "", loading: "lazy" });
    const name = make("span", { className: "name" });
    const what = make("span", { className: "what" });
    const open = make("button", { type: "button", className: "open" }, image, name, what);
    const save = make("a", { className: "save", textContent: "↓" });
    save.setAttribute("download", "");
    const remove = make("button", { type: "button", textContent: "×" });
    const bar = make("progress", { max: 1 });
    bar.setAttribute("aria-label", "Progress");
    const item = make("li", {}, open, make("div", { className: "row" }, save, remove), bar);
    const row = { item, image, name, what, open, save, remove, bar };
    this.#rows.set(id, row);
    return row;
  }

  #fill(row, { photo, job, place, current }) {
    const title = photo.frames > 1 ? `${photo.name} and ${photo.frames - 1} more frames` : photo.name;
    row.name.textContent = row.name.title = title;
    row.what.textContent = photo.reason || (job ? standing(job, place) : "Not restored yet");
    const thumbnail = photo.levels ? `/api/photos/${photo.id}/tiles/${photo.levels - 1}/0/0` : "/page/icon.svg";
    if (!row.image.src.endsWith(thumbnail)) row.image.src = thumbnail;
    row.open.onclick = () => this.#handlers.open(photo);
    row.open.setAttribute("aria-current", current);
    row.item.className = `${current ? "current" : ""} ${photo.reason || job?.state === "failed" ? "bad" : ""}`;
    const active = job?.state === "queued" || job?.state === "running";
    row.remove.setAttribute("aria-label", active ? `Cancel ${title}` : `Remove ${title}`);
    row.remove.title = active ? "Cancel" : "Remove with its results";
    row.remove.onclick = () => active ? this.#handlers.cancel(job) : this.#handlers.remove(photo);
    row.save.hidden = job?.state !== "done";
    row.save.href = job ? `/api/jobs/${job.id}/result` : "";
    row.save.setAttribute("aria-label", `Download ${job?.result ?? ""}`);
    row.bar.hidden = job?.state !== "running";
    row.bar.value = job?.share ?? 0;
  }
}
