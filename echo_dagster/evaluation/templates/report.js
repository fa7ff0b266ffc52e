// The sample browser: filters, a list, and one gap in full. Every text enters the page as a text node, never as HTML.
"use strict";
(() => {
  const source = document.getElementById("gaps");
  if (!source) return;
  const gaps = JSON.parse(source.textContent);
  const byId = (id) => document.getElementById(id);
  const list = byId("list"), detail = byId("detail"), status = byId("status"), search = byId("search");
  const filters = ["verdict", "language", "outcome", "break_reason", "cohort"].map((name) => [name, byId("f-" + name)]);
  let shown = [];
  let at = -1;
  let last = null; // the gap read last, kept while a filter hides it

  const el = (tag, className, ...children) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    node.append(...children.filter((child) => child !== null));
    return node;
  };
  const fixed = (value, digits) => (value === null ? null : value.toFixed(digits));
  const joined = (gap, keep) => gap.parts.filter((part) => keep.includes(part[0])).map((part) => part[1]).join("");
  const haystack = (gap) => {
    gap.text ??= [gap.id, gap.document, gap.repository, gap.user_id, gap.model,
      ...(gap.parts ? [gap.before, joined(gap, [0, -1]), joined(gap, [0, 1]), gap.after] : [])].join("\n").toLowerCase();
    return gap.text;
  };

  const meta = (pairs) => el("dl", "meta", ...pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => el("div", "", el("dt", "", name), el("dd", "", String(value)))));

  // A changed line end is invisible unless it is drawn.
  const changed = (tag, text) => {
    const node = el(tag, "");
    text.split("\n").forEach((line, index) => {
      if (index > 0) {
        const sign = el("span", "eol", "↵");
        sign.setAttribute("aria-hidden", "true");
        node.append(sign, "\n");
      }
      node.append(line);
    });
    return node;
  };
  const parts = (segments, drop, tags) => segments.filter(([sign]) => sign !== drop)
    .map(([sign, text]) => (sign === 0 ? el("span", "", text) : changed(tags[sign], text)));
  const TAGS = { "-1": "del", "1": "ins" };

  const pane = (title, gap, drop) => {
    const inside = el("span", "gap", ...parts(gap.parts, drop, TAGS));
    if (!inside.textContent) inside.append(el("span", "empty", "∅"));
    return el("div", "pane", el("h4", "", title), el("pre", "",
      el("span", "context", gap.before), inside, el("span", "context", gap.after)));
  };

  const prediction = (row) => {
    const box = el("div", "prediction", meta([
      ["", row.role], ["model", row.model], ["exact match", row.is_exact ? "yes" : "no"],
      ["edit similarity", fixed(row.similarity, 3)], ["chrF", fixed(row.chrf, 3)], ["NLL of C_N", fixed(row.nll, 3)],
      ["predicted acceptance", row.acceptance === null ? null : (100 * row.acceptance).toFixed(1) + " %"],
      ["predicted retained characters", fixed(row.retained, 1)],
      ["user", row.is_held_out_user ? "held out" : null], ["repository", row.is_held_out_repository ? "held out" : null],
      ["text", row.is_cut ? "cut for this page" : null],
    ]));
    box.append(el("pre", "", ...parts(row.parts, null, TAGS)));
    return box;
  };

  const show = (gap) => {
    detail.replaceChildren();
    detail.scrollTop = 0;
    detail.append(el("h3", "code", gap.document), meta([
      ["verdict", gap.stage ? `${gap.verdict} (${gap.stage})` : gap.verdict], ["outcome", gap.outcome],
      ["ended by", gap.break_reason], ["language", gap.language], ["opened", gap.at + " UTC"], ["open for", gap.open_s + " s"],
      ["edits", gap.n_edits], ["kept rate", fixed(gap.kept_rate, 2)],
      ["characters accepted / typed / pasted / by an agent",
        [gap.accepted_chars, gap.typed_chars, gap.pasted_chars, gap.agent_chars].map((value) => value ?? "—").join(" / ")],
      ["tracked by", gap.tracking], ["censored", gap.censored ? "yes" : null], ["scope", gap.scope],
      ["NLL of C_N", fixed(gap.nll, 3)], ["NLL of C_1", fixed(gap.nll_shown, 3)], ["IFD", fixed(gap.ifd, 3)],
      ["model", gap.model], ["user", gap.user_id], ["repository", gap.repository],
      ["source", gap.source], ["cohort", gap.cohort], ["gap", gap.id],
    ]));
    if (gap.hidden) {
      detail.append(el("p", "missing", "No text is shown: " + gap.hidden + "."));
      return;
    }
    const panes = [pane("C_1: what the model proposed", gap, 1), pane("C_N: what stood there in the end", gap, -1)];
    const [left, right] = panes.map((box) => box.lastChild);
    left.addEventListener("scroll", () => { right.scrollLeft = left.scrollLeft; });
    right.addEventListener("scroll", () => { left.scrollLeft = right.scrollLeft; });
    detail.append(el("div", "panes", ...panes));
    const notes = [];
    if (gap.parts.every(([sign]) => sign === 0)) notes.push("C_N equals C_1.");
    if (gap.replaced) notes.push("The proposal replaced the text below.");
    if (!gap.is_suffix_known) notes.push("The tool kept no text after the cursor.");
    if (gap.n_final) notes.push(`The refinery kept the beginning of a C_N of ${gap.n_final} characters.`);
    if (gap.cut.length) notes.push(`Cut for this page: ${gap.cut.join(", ")}.`);
    if (notes.length) detail.append(el("p", "legend", notes.join(" ")));
    if (gap.replaced) detail.append(el("h3", "", "Replaced text"), el("pre", "", gap.replaced));
    if (gap.predictions.length) {
      detail.append(el("h3", "", "What the models write here"), el("p", "legend",
        el("del", "", "struck out"), " the model writes it, C_N does not have it; ",
        el("ins", "", "underlined"), " C_N has it, the model does not write it."),
      ...gap.predictions.map(prediction));
    }
  };

  const item = (gap, index) => {
    const name = gap.document.split(/[\\/]/).pop();
    const node = el("li", "",
      el("div", "row", el("span", "name", name), el("span", "verdict" + (gap.verdict === "kept" ? " kept" : ""), gap.verdict)),
      el("div", "sub", `${gap.at}  ${gap.outcome}, ${gap.break_reason}`));
    node.id = "gap-" + index;
    node.setAttribute("role", "option");
    node.setAttribute("aria-selected", "false");
    return node;
  };

  const pick = (index, { scroll = true, link = true } = {}) => {
    if (!shown.length) return;
    list.children[at]?.setAttribute("aria-selected", "false");
    at = Math.max(0, Math.min(index, shown.length - 1));
    const node = list.children[at];
    node.setAttribute("aria-selected", "true");
    list.setAttribute("aria-activedescendant", node.id);
    if (scroll) {
      const above = node.offsetTop - list.offsetTop, below = above + node.offsetHeight - list.clientHeight;
      if (list.scrollTop > above) list.scrollTop = above;
      if (list.scrollTop < below) list.scrollTop = below;
    }
    status.textContent = `${at + 1} of ${shown.length}` + (shown.length < gaps.length ? ` (filtered from ${gaps.length})` : "");
    last = shown[at];
    show(last);
    if (link) history.replaceState(null, "", "#gap=" + encodeURIComponent(last.id));
  };

  const apply = ({ link = true } = {}) => {
    const words = search.value.trim().toLowerCase();
    shown = gaps.filter((gap) => filters.every(([name, box]) => box.value === "*" || (gap[name] ?? "") === box.value)
      && (!words || haystack(gap).includes(words)));
    list.replaceChildren(...shown.map(item));
    at = -1;
    if (shown.length) {
      pick(Math.max(0, shown.indexOf(last)), { link });
    } else {
      list.removeAttribute("aria-activedescendant");
      status.textContent = "No gap fits these filters.";
      detail.replaceChildren();
    }
  };

  const move = (step) => {
    pick(at + step);
    byId("samples").querySelector(".browser").scrollIntoView({ block: "nearest" });
  };
  filters.forEach(([, box]) => box.addEventListener("change", () => apply()));
  search.addEventListener("input", () => apply());
  list.addEventListener("click", (event) => {
    const node = event.target.closest("li");
    if (node) pick([...list.children].indexOf(node), { scroll: false });
  });
  list.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(list.clientHeight / 50));
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -gaps.length, End: gaps.length };
    if (!(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    pick(at + steps[event.key]);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target === search) {
      search.value = "";
      apply();
      list.focus();
      return;
    }
    const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "checkbox";
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey || !byId("keys").checked) return;
    if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else if (event.key === "/") {
      event.preventDefault();
      search.focus();
      search.select();
    }
  });

  const linked = decodeURIComponent((/^#gap=(.*)$/.exec(location.hash) ?? [])[1] ?? "");
  apply({ link: false });
  const index = shown.findIndex((gap) => gap.id === linked);
  if (index >= 0) {
    pick(index);
    byId("samples").scrollIntoView();
  }
})();
