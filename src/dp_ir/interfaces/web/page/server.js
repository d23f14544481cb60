// What the page asks of the server. Whatever goes wrong becomes an Error whose message is a sentence.

async function answer(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer: is dp-ir serve still running?");
  }
  if (response.ok) return response;
  throw new Error(await sentence(response.status, () => response.json()));
}

async function sentence(status, read) {
  try {
    return (await read()).error;
  } catch {
    return `The server answered with ${status}, and no reason: try again.`;
  }
}

const json = (method, body) => ({
  method,
  headers: { "content-type": "application/json" },
  body: body && JSON.stringify(body),
});

export const about = async () => (await answer("/api/about")).json();
export const restore = async (wish) => (await answer("/api/restore", json("POST", wish))).json();
export const spread = async (job) => (await answer(`/api/jobs/${job}/spread`, { method: "POST" })).json();
export const cancel = async (job) => (await answer(`/api/jobs/${job}`, { method: "DELETE" })).json();
export const remove = (photo) => answer(`/api/photos/${photo}`, { method: "DELETE" });

// The parts of a preview, one below the other in one image, as bitmaps, and where they lie.
export async function preview(view, signal) {
  const response = await answer("/api/preview", { ...json("POST", view), signal });
  const facts = JSON.parse(response.headers.get("x-preview"));
  const strip = await createImageBitmap(await response.blob());
  const parts = [];
  for (let top = 0; top < strip.height; top += facts.height) {
    parts.push(await createImageBitmap(strip, 0, top, facts.width, facts.height));
  }
  return { ...facts, parts };
}

const TYPES = { jpg: "image/jpeg", jpeg: "image/jpeg", png: "image/png", webp: "image/webp", avif: "image/avif",
  jxl: "image/jxl", tif: "image/tiff", tiff: "image/tiff", bmp: "image/bmp", gif: "image/gif", ppm: "image/x-portable-pixmap",
  pgm: "image/x-portable-graymap", pnm: "image/x-portable-anymap" };
export const suffix = (name) => name.slice(name.lastIndexOf(".") + 1).toLowerCase();
export const isRaw = (name) => !(suffix(name) in TYPES) && /\.(3fr|arw|cr2|cr3|crw|dcr|dng|erf|fff|iiq|kdc|mef|mos|mrw|nef|nrw|orf|pef|raf|raw|rw2|rwl|sr2|srf|srw|x3f)$/i.test(name);

// fetch tells nothing of the bytes that have gone out; XMLHttpRequest does.
export function upload(file, name, burst, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const query = new URLSearchParams({ name, ...(burst ? { burst } : {}) });
    request.open("POST", `/api/photos?${query}`);
    request.setRequestHeader("content-type", TYPES[suffix(name)] ?? "application/octet-stream");
    request.responseType = "json";
    request.upload.onprogress = (event) => progress(event.loaded / event.total);
    request.onload = () => request.status === 201
      ? resolve(request.response)
      : reject(new Error(request.response?.error ?? `The server answered with ${request.status}: try again.`));
    request.onerror = () => reject(new Error(`${name} could not be sent: it may be too large, or the server has ended.`));
    request.send(file);
  });
}

export function listen(handlers, connected) {
  const source = new EventSource("/api/events");
  for (const [kind, handle] of Object.entries(handlers)) {
    source.addEventListener(kind, (event) => handle(JSON.parse(event.data)));
  }
  source.onopen = () => connected(true);
  source.onerror = () => connected(false);
}
