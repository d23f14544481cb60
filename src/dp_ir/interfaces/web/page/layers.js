// An image in tiles, as tiles.py writes them: fetched when they are seen, drawn at the level that suits the zoom.

const TILE = 512;
const APRON = 2;
const KEPT = 160; // tiles in memory, of all layers together

const cache = new Map(); // address -> bitmap, or null while it is fetched; the oldest first

function bitmap(url, arrived) {
  if (cache.has(url)) {
    const found = cache.get(url);
    cache.delete(url);
    cache.set(url, found);
    return found;
  }
  cache.set(url, null);
  fetch(url)
    .then((response) => (response.ok ? response.blob() : Promise.reject()))
    .then((blob) => createImageBitmap(blob))
    .then((made) => {
      cache.set(url, made);
      for (const [old, image] of cache) {
        if (cache.size <= KEPT) break;
        if (image && old !== url) { cache.delete(old); image.close(); }
      }
      arrived();
    })
    .catch(() => cache.delete(url));
  return null;
}

export class Tiles {
  // address: where its tiles are; width and height: of level 0; scale: pixels of the result per pixel of it
  constructor(address, width, height, levels, scale = 1, apron = true) {
    Object.assign(this, { address, width, height, levels, scale, apron });
  }

  thumbnail() { return `${this.address}/${this.levels - 1}/0/0`; }

  // Draw what a view shows: left and top, in pixels of the result, and zoom, pixels of the canvas per pixel of it.
  draw(context, view, arrived) {
    const zoom = view.zoom * this.scale;
    const wanted = Math.min(Math.max(Math.floor(Math.log2(1 / zoom) + 0.01), 0), this.levels - 1);
    context.imageSmoothingQuality = "high";
    for (let level = this.levels - 1; level >= wanted; level--) {
      if (level > wanted && level < this.levels - 1) continue; // the coarsest stands in for what is not there yet
      context.imageSmoothingEnabled = zoom * 2 ** level !== 1;
      this.#draw(context, view, zoom, level, arrived);
    }
  }

  #draw(context, view, zoom, level, arrived) {
    const size = TILE * 2 ** level;
    const [left, top] = [view.left / this.scale, view.top / this.scale];
    const right = Math.min(left + context.canvas.width / zoom, this.width);
    const bottom = Math.min(top + context.canvas.height / zoom, this.height);
    for (let row = Math.max(Math.floor(top / size), 0); row * size < bottom; row++) {
      for (let column = Math.max(Math.floor(left / size), 0); column * size < right; column++) {
        const image = bitmap(`${this.address}/${level}/${row}/${column}`, arrived);
        if (!image) continue;
        const [skipX, skipY] = [column ? APRON : 0, row ? APRON : 0];
        const step = zoom * 2 ** level;
        if (this.apron) {
          const x = (column * size - left) * zoom - skipX * step;
          const y = (row * size - top) * zoom - skipY * step;
          context.drawImage(image, x, y, image.width * step, image.height * step);
        } else {
          const [w, h] = [Math.min(image.width - skipX, TILE), Math.min(image.height - skipY, TILE)];
          context.drawImage(image, skipX, skipY, w, h, (column * size - left) * zoom, (row * size - top) * zoom, w * step, h * step);
        }
      }
    }
  }
}

// A part of the result, as one bitmap.
export class Part {
  constructor(image, x, y) { Object.assign(this, { image, x, y }); }

  draw(context, view) {
    context.imageSmoothingEnabled = view.zoom !== 1;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.image, (this.x - view.left) * view.zoom, (this.y - view.top) * view.zoom,
      this.image.width * view.zoom, this.image.height * view.zoom);
  }
}
