// The saved views: filters under names, which the server keeps.

import { ask, make, notice, say } from "./base.js";
import { keyed } from "./keyed.js";
import { choice, closing, menu } from "./menus.js";
import { filtersOf, parsed } from "./query.js";

// The header that the server requires of requests that change data.
const JSON_BODY = { "Content-Type": "application/json" };

/** Return what tells the lists of two queries apart: filters and order. */
const shownBy = (query) =>
  JSON.stringify([Object.entries(filtersOf(query)).sort(), query.sort ?? [], query.order ?? []]);

/** The menu of the saved views. */
export class ViewsMenu {
  constructor(go) {
    this.go = go;
    Object.assign(this, menu("Views"));
    this.list = make("div", { class: "values", role: "group", "aria-label": "Saved views" });
    this.field = make("input", {
      name: "view",
      placeholder: "Name of a view",
      "aria-label": "Name of a view",
      maxlength: 80,
    });
    this.button = make("button", {}, "Save");
    this.field.addEventListener("input", () => this.offer(""));
    const form = make("form", { class: "save" }, this.field, this.button);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.save();
    });
    this.box.append(this.list, form);
    this.element.addEventListener("toggle", () => {
      this.deleting = "";
      if (this.element.open) this.load();
    });
    Object.assign(this, { views: null, deleting: "" });
  }

  async load() {
    try {
      this.views = (await ask("views")).views;
      this.draw();
    } catch (error) {
      this.list.replaceChildren(notice(error.message, "faint"));
    }
  }

  /** Draw the views, with the one that is shown marked, and the one whose deletion is to be confirmed. */
  draw() {
    const { views } = this;
    if (!views) return;
    const now = shownBy(parsed());
    if (!views.length)
      return void this.list.replaceChildren(notice("Save the filters that you look at often.", "faint small"));
    keyed(
      this.list,
      views.map(({ name, filters, project }) => {
        const id = project ? `${project}/${name}` : name,
          isDeleting = this.deleting === id;
        return make(
          "div",
          { class: "entry", "data-id": id },
          choice(
            name,
            shownBy(filters) === now,
            closing(() => this.go(filters)),
          ),
          make(
            "button",
            {
              type: "button",
              class: isDeleting ? "not sure" : "not",
              "data-key": name,
              title: isDeleting ? "Click again to delete it" : `Delete ${name}`,
              "aria-label": isDeleting ? `Confirm: delete ${name}` : `Delete ${name}`,
              // The second click of a double click is no confirmation.
              onclick: ({ detail }) => (isDeleting ? detail < 2 && this.drop(name, project) : this.confirm(id)),
            },
            isDeleting ? "Delete?" : "×",
          ),
        );
      }),
    );
  }

  async save() {
    const name = this.field.value.trim();
    if (!name) return;
    const { sort, order, by } = parsed();
    const filters = { ...filtersOf(parsed()), ...(sort && { sort }), ...(order && { order }), ...(by && { by }) };
    const body = JSON.stringify({ name, filters, replace: this.taken === name });
    let saved;
    try {
      saved = await ask("views", {}, { method: "POST", headers: JSON_BODY, body });
    } catch (error) {
      if (error.status !== 409) return void say(error.message);
      this.offer(name);
      return void say(`A view named ${name} exists: press Replace to overwrite it`);
    }
    const secrets = saved.redacted ? "; its secrets were replaced, as in all that is recorded" : "";
    say(`View ${saved.name} ${this.taken === name ? "replaced" : "saved"}${secrets}`);
    this.field.value = "";
    this.offer("");
    await this.load();
  }

  /** Offer to replace the view of a name, or no more. */
  offer(name) {
    this.taken = name;
    this.button.textContent = name ? "Replace" : "Save";
  }

  /** Ask whether to delete a view: its button then has to be clicked again. */
  confirm(id) {
    this.deleting = id;
    this.draw();
  }

  async drop(name, project) {
    if (await this.send("views", { name, project }, { method: "DELETE", headers: JSON_BODY }))
      say(`View ${name} deleted`);
  }

  async send(path, query, options) {
    try {
      await ask(path, query, options);
      await this.load();
      return true;
    } catch (error) {
      say(error.message);
      return false;
    }
  }
}
