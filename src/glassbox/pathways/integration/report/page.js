"use strict";
(() => {
  const drawing = document.getElementById("drawing");
  const byId = (id) => document.getElementById(id);

  // A link to a card opens it, also when the page is opened at one.
  const openCard = () => {
    const card = location.hash.startsWith("#card-") && byId(decodeURIComponent(location.hash.slice(1)));
    if (card) { card.open = true; card.scrollIntoView({ block: "start" }); }
  };
  addEventListener("hashchange", openCard);
  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest('a[href^="#card-"]');
    if (link && link.getAttribute("href") === location.hash) { openCard(); }
  });
  openCard();
  if (!drawing) { return; }

  const edges = [...drawing.querySelectorAll(".edge")];
  const nodes = [...drawing.querySelectorAll(".node")];
  const named = new Map(nodes.map((node) => [node.dataset.name, node]));
  const told = byId("told");
  let chosen = null;

  const around = (name) => {
    const lit = new Set([name]);
    for (const edge of edges) {
      const touches = edge.dataset.from === name || edge.dataset.to === name;
      const shown = touches && !edge.classList.contains("away");
      edge.classList.toggle("lit", shown);
      if (shown) { lit.add(edge.dataset.from); lit.add(edge.dataset.to); }
    }
    return lit;
  };
  const words = (name) => {
    const ins = edges.filter((e) => e.dataset.to === name && !e.classList.contains("away")).length;
    const outs = edges.filter((e) => e.dataset.from === name && !e.classList.contains("away")).length;
    const title = named.get(name).querySelector("title").textContent;
    return `${title}: ${ins} arrow${ins === 1 ? "" : "s"} in, ${outs} out.`;
  };
  const look = (name) => {
    drawing.classList.toggle("looking", Boolean(name));
    if (!name) { told.textContent = ""; return; }
    const lit = around(name);
    for (const node of nodes) { node.classList.toggle("lit", lit.has(node.dataset.name)); }
    told.textContent = words(name);
  };
  const choose = (name) => {
    chosen = name;
    for (const node of nodes) { node.classList.toggle("chosen", node.dataset.name === name); }
    look(name);
  };
  for (const node of nodes) {
    node.addEventListener("pointerenter", () => look(node.dataset.name));
    node.addEventListener("pointerleave", () => look(chosen));
    node.addEventListener("focus", () => look(node.dataset.name));
    node.addEventListener("blur", () => look(chosen));
    node.addEventListener("click", (event) => {
      // The first click looks, the second one follows the link to the card.
      if (chosen !== node.dataset.name) { event.preventDefault(); choose(node.dataset.name); }
      else if (!node.getAttribute("href").startsWith("#card-")) { event.preventDefault(); choose(null); }
    });
  }
  drawing.addEventListener("keydown", (event) => { if (event.key === "Escape") { choose(null); } });

  const amount = byId("amount"), verified = byId("verified"), onPath = byId("on-path"), find = byId("find");
  const isOnPath = (name) => {
    const node = named.get(name);
    return node.classList.contains("on-path") || node.dataset.kind !== "latent";
  };
  const sift = () => {
    const used = new Set();
    for (const edge of edges) {
      const shown = Number(edge.dataset.rank) <= Number(amount.value)
        && (!verified.checked || edge.dataset.sure === "1")
        && (!onPath.checked || (isOnPath(edge.dataset.from) && isOnPath(edge.dataset.to)));
      edge.classList.toggle("away", !shown);
      if (shown) { used.add(edge.dataset.from); used.add(edge.dataset.to); }
    }
    for (const node of nodes) { node.classList.toggle("away", !used.has(node.dataset.name)); }
    byId("amount-shown").textContent = edges.filter((edge) => !edge.classList.contains("away")).length;
    look(chosen);
  };
  for (const input of [amount, verified, onPath]) { input.addEventListener("input", sift); }
  find.addEventListener("input", () => {
    const text = find.value.trim().toLowerCase();
    const label = (node) => node.dataset.name.replace(/^token:/, "").toLowerCase();
    const shown = nodes.filter((node) => !node.classList.contains("away"));
    const found = text && (shown.find((node) => label(node).trim() === text)
      || shown.find((node) => label(node).includes(text)));
    choose(found ? found.dataset.name : null);
  });
  document.querySelector(".tools").addEventListener("submit", (event) => event.preventDefault());
  document.querySelector(".tools").hidden = false;

  // Zoom and pan change the view box only.
  const whole = drawing.viewBox.baseVal;
  const full = { x: whole.x, y: whole.y, width: whole.width, height: whole.height };
  const show = (box) => drawing.setAttribute("viewBox", `${box.x} ${box.y} ${box.width} ${box.height}`);
  const now = () => drawing.viewBox.baseVal;
  const at = (event) => {
    const matrix = drawing.getScreenCTM().inverse();
    return new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix);
  };
  const zoom = (factor, point) => {
    const box = now();
    const width = Math.min(full.width * 1.5, Math.max(full.width / 12, box.width * factor));
    const ratio = width / box.width;
    const middle = point || { x: box.x + box.width / 2, y: box.y + box.height / 2 };
    show({
      x: middle.x - (middle.x - box.x) * ratio, y: middle.y - (middle.y - box.y) * ratio,
      width, height: box.height * ratio,
    });
  };
  byId("in").addEventListener("click", () => zoom(0.75));
  byId("out").addEventListener("click", () => zoom(1 / 0.75));
  byId("fit").addEventListener("click", () => show(full));
  drawing.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) { return; }
    event.preventDefault();
    zoom(event.deltaY < 0 ? 0.9 : 1 / 0.9, at(event));
  }, { passive: false });
  let start = null;
  drawing.addEventListener("pointerdown", (event) => {
    if (event.target.closest(".node")) { return; }
    start = { point: at(event), moved: false };
    drawing.setPointerCapture(event.pointerId);
    drawing.classList.add("dragged");
  });
  drawing.addEventListener("pointermove", (event) => {
    if (!start) { return; }
    const point = at(event), box = now();
    start.moved = true;
    show({ x: box.x + start.point.x - point.x, y: box.y + start.point.y - point.y,
      width: box.width, height: box.height });
  });
  const stop = () => {
    if (start && !start.moved) { choose(null); }
    start = null;
    drawing.classList.remove("dragged");
  };
  drawing.addEventListener("pointerup", stop);
  drawing.addEventListener("pointercancel", stop);
})();
