// The try-it form and the idle countdown of the serving page.
const form = document.getElementById("try");
const answer = document.getElementById("answer");
const state = document.getElementById("status");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  state.textContent = "…";
  const started = performance.now();
  try {
    const response = await fetch("/", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: document.getElementById("body").value,
    });
    const text = await response.text();
    state.textContent = `${response.status}, ${(performance.now() - started).toFixed(1)} ms`;
    answer.textContent = text.length > 20000 ? text.slice(0, 20000) + " …" : text;
  } catch (error) {
    state.textContent = String(error);
  }
});

const idle = document.getElementById("idle");
const tell = (left) => {
  idle.textContent = `Ends when unused, in ${Math.floor(left / 60)} min ${Math.floor(left % 60)} s.`;
};
if (idle.dataset.remaining) {
  let left = Number(idle.dataset.remaining);
  tell(left);
  setInterval(() => { left = Math.max(0, left - 1); tell(left); }, 1000);
  setInterval(async () => {
    try {
      const told = await (await fetch("/metadata")).json();
      if (told.idle.remaining !== null) left = told.idle.remaining;
    } catch { idle.textContent = "The server does not answer any more."; }
  }, 15000);
}
