// Background jobs, for who operates the server. The key is kept in memory only.

const EVERY = 5000;
const BARS = 120;
// The server counts no more of those that were done.
const COUNTED = 100_000;

const at = (id) => document.getElementById(id);
const samples = [];
let key = "";
let timer;

async function ask(path, method = "GET") {
  const answer = await fetch(path, { method, headers: { Authorization: `Bearer ${key}` }, cache: "no-store" });
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  const isProblem = answer.headers.get("content-type")?.startsWith("application/problem+json");
  const error = new Error(isProblem ? (await answer.json()).detail : await answer.text());
  error.status = answer.status;
  throw error;
}

async function refresh() {
  clearTimeout(timer);
  try {
    // Counted once: that is most of the work.
    const [running, waiting, dead] = await Promise.all(
      ["running", "waiting", "dead"].map((state, index) => ask(`/ops/jobs?state=${state}&limit=100&counts=${index === 0}`)),
    );
    show(running.counts, running.jobs, waiting.jobs.filter((job) => job.reason), dead.jobs);
    at("said").textContent = "";
    at("login").hidden = true;
    at("content").hidden = false;
  } catch (error) {
    at("said").textContent = error.message;
    if (error.status === 401) return leave();
  }
  // Another look, after a change, may have ended meanwhile.
  clearTimeout(timer);
  timer = setTimeout(refresh, EVERY);
}

function leave() {
  key = "";
  at("login").hidden = false;
  at("content").hidden = true;
  at("key").focus();
}

function show(counts, running, retried, dead) {
  sample(counts);
  fill("counts", ["Kind", "Due", "Later", "Blocked", "At work", "Done", "Dead", "Cancelled", "Oldest due", ""], counts.map((of) => [
    of.kind, of.due, of.scheduled, of.blocked, of.running, of.done, of.dead, of.cancelled, time(of.oldestDue),
    [act(of.paused ? "Resume" : "Pause", `/ops/kinds/${of.kind}/${of.paused ? "resume" : "pause"}`)],
  ]));
  fill("running", ["Kind", "Id", "Attempt", "Held until", ""], running.map((job) => [
    job.kind, job.id, tried(job), time(job.leasedUntil), [change(job, "Cancel")],
  ]));
  fill("retried", ["Kind", "Id", "Attempts", "Next try", "Reason", ""], retried.map((job) => [
    job.kind, job.id, tried(job), time(job.runAt), job.reason, [change(job, "Retry"), change(job, "Cancel")],
  ]));
  fill("dead", ["Kind", "Id", "Attempts", "Ended", "Reason", ""], dead.map((job) => [
    job.kind, job.id, tried(job), time(job.endedAt), job.reason ?? "", [change(job, "Retry"), change(job, "Drop")],
  ]));
}

function fill(id, names, rows) {
  if (rows.length === 0) {
    at(id).replaceChildren(element("p", "None.", "hint"));
    return;
  }
  const table = element("table");
  const head = table.createTHead().insertRow();
  for (const name of names) head.append(element("th", name));
  const body = table.createTBody();
  for (const cells of rows) {
    const row = body.insertRow();
    cells.forEach((cell, column) => {
      const place = row.insertCell();
      if (names[column] === "Reason") place.className = "reason";
      // On a narrow screen, where there is no head above.
      if (names[column]) place.dataset.name = names[column];
      if (Array.isArray(cell)) place.append(...cell);
      else place.textContent = cell;
    });
  }
  at(id).replaceChildren(table);
}

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

const tried = (job) => `${job.attempt} of ${job.maxAttempts}`;
const time = (text) => (text ? new Date(text).toLocaleString() : "–");
const change = (job, name) => act(name, `/ops/jobs/${job.id}/${name.toLowerCase()}`);

function act(name, path) {
  const button = element("button", name, "button small");
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await ask(path, "POST");
      await refresh();
    } catch (error) {
      at("said").textContent = error.message;
      button.disabled = false;
    }
  });
  return button;
}

// What was done between two looks; old ones are removed now and then, which is not work taken back.
function sample(counts) {
  const done = counts.reduce((sum, of) => sum + of.done, 0);
  if (done >= COUNTED) {
    samples.length = 0;
    at("plot").replaceChildren();
    at("rate").textContent = "More jobs that were done are kept than are counted: the metrics say how many are done.";
    return;
  }
  const last = samples.at(-1);
  const now = performance.now();
  const rate = last ? (Math.max(0, done - last.done) * 60_000) / Math.max(1, now - last.at) : 0;
  samples.push({ at: now, done, rate });
  samples.splice(0, samples.length - BARS);
  plot();
}

function plot() {
  const most = Math.max(1, ...samples.map((sample) => sample.rate));
  const width = 600 / BARS;
  const bars = samples.map(({ rate }, index) => {
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const height = (76 * rate) / most;
    const place = { x: (BARS - samples.length + index) * width, y: 80 - height, width: width * 0.8, height };
    for (const [name, value] of Object.entries(place)) bar.setAttribute(name, String(value));
    return bar;
  });
  at("plot").replaceChildren(...bars);
  const now = samples.at(-1).rate;
  at("rate").textContent = `${Math.round(now)} a minute now, ${Math.round(most)} at the top of the plot.`;
}

at("login").addEventListener("submit", (event) => {
  event.preventDefault();
  key = at("key").value;
  at("key").value = "";
  refresh();
});
