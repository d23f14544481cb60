// The view: before and after on both sides of a border, zoom and pan, the line between two layers, and an overlay.
//
// Every layer is drawn to a canvas of its own only when the view moves or a tile arrives; the border and the dial
// change nothing but how these canvases are put together.

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

export class Viewer {
  #canvas; #context; #sheets = {}; #dirty = true; #asked = false; #pointers = new Map();
  #size = [0, 0]; #centre = [0, 0]; #zoom = 1; #border = 0.5; #fit = true;
  #layers = {}; #share = 0; #overlay = false; #frame = null; #onlyBefore = false;

  constructor(canvas, divider, { moved }) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: false });
    this.divider = divider;
    this.moved = moved;
    new ResizeObserver(() => this.#resize()).observe(canvas);
    this.#listen();
  }

  // size: [width, height] of the result; layers: before, low, high (each a list, drawn in order), overlay
  show(size, layers, { keep = false, frame = null } = {}) {
    const same = keep && this.#size[0] > 0;
    if (same && (size[0] !== this.#size[0] || size[1] !== this.#size[1])) {
      const factor = size[0] / this.#size[0];
      this.#centre = this.#centre.map((value) => value * factor);
      if (!this.#fit) this.#zoom /= factor;
    }
    this.#size = size;
    this.#layers = layers;
    this.#frame = frame;
    if (!same) this.#centre = [size[0] / 2, size[1] / 2];
    if (this.#fit) this.#zoom = this.#fitting();
    this.#refresh();
  }

  set share(value) { this.#share = value; this.#ask(); }
  set overlay(value) { this.#overlay = value; this.#ask(); }
  set onlyBefore(value) { this.#onlyBefore = value; this.#ask(); }
  get zoom() { return this.#zoom; }

  get view() {
    const { width, height } = this.#canvas;
    let [left, top] = [this.#centre[0] - width / 2 / this.#zoom, this.#centre[1] - height / 2 / this.#zoom];
    if (this.#zoom >= 1) [left, top] = [Math.round(left * this.#zoom) / this.#zoom, Math.round(top * this.#zoom) / this.#zoom];
    return { left, top, zoom: this.#zoom };
  }

  // What is seen, as shares of the photo: centre and size in pixels of the result.
  get visible() {
    return {
      x: clamp(this.#centre[0] / this.#size[0], 0, 1), y: clamp(this.#centre[1] / this.#size[1], 0, 1),
      width: this.#canvas.width / this.#zoom, height: this.#canvas.height / this.#zoom,
    };
  }

  zoomTo(zoom, at = null) {
    const { width, height } = this.#canvas;
    const smallest = Math.min(this.#fitting(), 1);
    const next = clamp(zoom, smallest, 16);
    const [x, y] = at ?? [width / 2, height / 2];
    const shift = [(x - width / 2) * (1 / this.#zoom - 1 / next), (y - height / 2) * (1 / this.#zoom - 1 / next)];
    this.#centre = [this.#centre[0] + shift[0], this.#centre[1] + shift[1]];
    this.#zoom = next;
    this.#fit = false;
    this.#refresh();
  }

  fit() {
    this.#fit = true;
    this.#zoom = this.#fitting();
    this.#centre = [this.#size[0] / 2, this.#size[1] / 2];
    this.#refresh();
  }

  pan(x, y) {
    this.#centre = [this.#centre[0] - x / this.#zoom, this.#centre[1] - y / this.#zoom];
    this.#refresh();
  }

  get border() { return this.#border; }
  set border(value) {
    this.#border = clamp(value, 0, 1);
    this.divider.setAttribute("aria-valuenow", Math.round(100 * this.#border));
    this.divider.setAttribute("aria-valuetext", `${Math.round(100 * this.#border)} % before`);
    this.#ask();
  }

  #fitting() {
    const { width, height } = this.#canvas;
    return this.#size[0] ? Math.min(width / this.#size[0], height / this.#size[1], 1) || 1 : 1;
  }

  #resize() {
    const ratio = window.devicePixelRatio || 1;
    this.#canvas.width = Math.max(Math.round(this.#canvas.clientWidth * ratio), 1);
    this.#canvas.height = Math.max(Math.round(this.#canvas.clientHeight * ratio), 1);
    if (this.#fit) this.#zoom = this.#fitting();
    this.#refresh();
  }

  #refresh() {
    const { width, height } = this.#canvas;
    const [across, down] = [width / 2 / this.#zoom, height / 2 / this.#zoom];
    const inside = (value, half, side) => side <= 2 * half ? side / 2 : clamp(value, half, side - half);
    this.#centre = [inside(this.#centre[0], across, this.#size[0]), inside(this.#centre[1], down, this.#size[1])];
    this.#dirty = true;
    this.#ask();
    this.moved();
  }

  #ask() {
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame(() => { this.#asked = false; this.#compose(); });
  }

  #draw(name) {
    const sheet = (this.#sheets[name] ??= new OffscreenCanvas(1, 1));
    const { width, height } = this.#canvas;
    if (sheet.width !== width || sheet.height !== height) [sheet.width, sheet.height] = [width, height];
    const context = sheet.getContext("2d");
    context.clearRect(0, 0, width, height);
    for (const layer of this.#layers[name] ?? []) {
      layer.draw(context, this.view, () => { this.#dirty = true; this.#ask(); });
    }
  }

  #compose() {
    const context = this.#context;
    const { width, height } = this.#canvas;
    const names = ["before", "low", "high", "overlay"].filter((name) => this.#layers[name]?.length);
    if (this.#dirty) { this.#dirty = false; names.forEach((name) => this.#draw(name)); }
    const view = this.view;
    const has = (name) => names.includes(name);
    const border = this.#onlyBefore || !has("low") ? width : Math.round(this.#border * width);
    context.fillStyle = getComputedStyle(this.#canvas.parentElement).backgroundColor;
    context.fillRect(0, 0, width, height);
    if (has("before")) context.drawImage(this.#sheets.before, 0, 0);
    if (border < width) {
      const right = [border, 0, width - border, height];
      const put = (name, share) => {
        context.globalAlpha = share;
        context.drawImage(this.#sheets[name], ...right, ...right);
        context.globalAlpha = 1;
      };
      if (has("low")) put("low", 1);
      if (has("high") && this.#share > 0) put("high", this.#share);
      if (has("overlay") && this.#overlay) put("overlay", 1);
    }
    if (this.#frame) {
      const [x, y, w, h] = this.#frame;
      context.strokeStyle = "#fff9";
      context.lineWidth = 1;
      context.strokeRect((x - view.left) * view.zoom - 0.5, (y - view.top) * view.zoom - 0.5, w * view.zoom + 1, h * view.zoom + 1);
    }
    this.divider.hidden = !has("low") || this.#onlyBefore;
    this.divider.style.transform = `translateX(${this.#border * this.#canvas.clientWidth}px)`;
  }

  // ---- hands ---------------------------------------------------------------------------------------------------------

  #listen() {
    const canvas = this.#canvas;
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      const ratio = canvas.width / box.width;
      return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.#pointers.set(event.pointerId, at(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = this.#pointers.get(event.pointerId);
      if (!before) return;
      const now = at(event);
      const other = [...this.#pointers].find(([id]) => id !== event.pointerId)?.[1];
      this.#pointers.set(event.pointerId, now);
      if (!other) return this.pan(now[0] - before[0], now[1] - before[1]);
      const distance = (one) => Math.hypot(one[0] - other[0], one[1] - other[1]) || 1;
      const middle = [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2];
      this.zoomTo(this.#zoom * distance(now) / distance(before), middle);
      this.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, (event) => this.#pointers.delete(event.pointerId));
    }
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomTo(this.#zoom * Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), at(event));
    }, { passive: false });
    canvas.addEventListener("dblclick", (event) => this.#zoom === 1 ? this.fit() : this.zoomTo(1, at(event)));
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] }[event.key];
      if (!step) return;
      event.preventDefault();
      this.pan(...step);
    });
    const divider = this.divider;
    divider.addEventListener("pointerdown", (event) => divider.setPointerCapture(event.pointerId));
    divider.addEventListener("pointermove", (event) => {
      if (!divider.hasPointerCapture(event.pointerId)) return;
      const box = canvas.getBoundingClientRect();
      this.border = (event.clientX - box.left) / box.width;
    });
    divider.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, PageDown: -0.1, PageUp: 0.1 }[event.key];
      if (step) this.border += step;
      else if (event.key === "Home") this.border = 0;
      else if (event.key === "End") this.border = 1;
      else return;
      event.preventDefault();
    });
  }
}
