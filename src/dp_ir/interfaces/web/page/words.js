// What the page says, in words.

export const TASKS = {
  photo: "Small, soft or compressed",
  clean: "Noise and blocks, size is fine",
  sr4: "Made smaller by a program",
  deblur: "Motion blur",
  burst: "A burst of RAW frames",
};

export function span(seconds) {
  if (seconds < 60) return `${Math.max(Math.round(seconds), 1)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

export const megabytes = (bytes) => bytes < 1e6 ? `${Math.max(Math.round(bytes / 1e3), 1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;

const left = (job) => job.share > 0.03 ? `, ${span(job.seconds / job.share * (1 - job.share))} left` : "";

// What is to be said of a job; place: how many wait before it.
export function standing(job, place) {
  if (job.state === "queued") return place ? `Waiting, ${place} before it` : "Next";
  if (job.state === "running") return `Restoring, ${Math.round(100 * job.share)} %${left(job)}`;
  if (job.state === "failed") return job.reason;
  if (job.state === "cancelled") return "Cancelled";
  return `Done: ${job.width} × ${job.height}, ${megabytes(job.bytes)}`;
}
