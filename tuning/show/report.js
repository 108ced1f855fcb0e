// The report's script: what another rule or tolerance would pick, and what points say. It asks nothing of a network.
(() => {
  const found = JSON.parse(document.getElementById("picks").textContent);
  const chooser = document.getElementById("chooser");
  const rule = document.getElementById("rule");
  const slider = document.getElementById("slider");
  const tolerance = document.getElementById("tolerance");
  const again = document.getElementById("again");
  const told = document.getElementById("picked");

  // The last step that does not lie above the tolerance; the first step is for none.
  function pick(name, value) {
    const steps = found.picks[name];
    let last = steps[0];
    if (value !== null) {
      for (const step of steps.slice(1)) if (step.tolerance <= value) last = step;
    }
    return last;
  }

  function list(sizes) {
    return sizes.length < 2 ? sizes.join("") : `${sizes.slice(0, -1).join(", ")} and ${sizes[sizes.length - 1]}`;
  }

  function show() {
    const value = tolerance.value === "" ? null : Number(tolerance.value);
    if (value !== null && !(value >= 0)) return;
    const step = pick(rule.value, value);
    const facts = found.rows[step.batch_size];
    const option = value === null ? "" : ` --tolerance ${tolerance.value}`;
    told.dataset.batchSize = step.batch_size;
    told.dataset.eligible = step.eligible.join(",");
    told.querySelector("strong").textContent = `Batch size ${step.batch_size}`;
    told.querySelector("span").textContent =
      `${facts ? ` (${facts})` : ""}, taken from ${list(step.eligible)}.`;
    if (found.command) again.textContent = `${found.command} --rule ${rule.value}${option}`;
    for (const row of document.querySelectorAll("tr[data-size]"))
      row.classList.toggle("picked", row.dataset.size === String(step.batch_size));
    for (const mark of document.querySelectorAll("circle.mean"))
      mark.classList.toggle("picked", mark.dataset.size === String(step.batch_size));
  }

  rule.addEventListener("change", show);
  slider.addEventListener("input", () => {
    tolerance.value = Number(slider.value) === 0 ? "" : slider.value;
    show();
  });
  tolerance.addEventListener("input", () => {
    slider.value = tolerance.value;
    show();
  });
  chooser.hidden = false;
  show();

  const tip = document.getElementById("tip");
  document.addEventListener("pointerover", (event) => {
    const text = event.target.dataset && event.target.dataset.told;
    tip.hidden = !text;
    if (!text) return;
    tip.textContent = text;
    const place = event.target.getBoundingClientRect();
    const left = place.left + place.width / 2 - tip.offsetWidth / 2;
    tip.style.left = `${Math.max(4, Math.min(left, innerWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${place.top > tip.offsetHeight + 8 ? place.top - tip.offsetHeight - 6 : place.bottom + 6}px`;
  });
  document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
})();
