// @ts-check
// A small helper to make elements. Text goes in as text only.

/** @typedef {Node | string | false | null | undefined} Child */

/**
 * h makes an element: "button.primary" is a button of that class. Functions
 * are listeners, true and false set or leave out an attribute.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T | `${T}.${string}`} kind
 * @param {{ [name: string]: string | number | boolean | undefined | ((event: any) => void) }} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(kind, attributes = {}, ...children) {
  const [tag, ...classes] = kind.split(".");
  const element = /** @type {HTMLElementTagNameMap[T]} */ (document.createElement(tag));
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== false && value !== undefined) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(.../** @type {(Node | string)[]} */ (children.flat().filter(child => child !== false && child !== null && child !== undefined && child !== "")));
  return element;
}

/** put replaces what an element holds. @param {Element} element @param {...Child} children */
export function put(element, ...children) {
  element.replaceChildren(.../** @type {(Node | string)[]} */ (children.filter(child => child !== false && child !== null && child !== undefined)));
}

/** hearIn has announcements made in an element. @param {Element} where */
function hearIn(where) {
  const said = /** @type {HTMLElement} */ (document.getElementById("said"));
  put(said); // else they might be heard again
  where.append(said);
}

/**
 * openDialog shows a dialog until it is closed. What is behind it is not heard.
 * @param {string} title
 * @param {...(Child | Child[])} content
 */
export function openDialog(title, ...content) {
  const dialog = h("dialog", { "aria-label": title, close: () => { hearIn(document.body); dialog.remove(); } },
    h("header", {}, h("h2", {}, title), h("button", { type: "button", click: () => dialog.close() }, "Close")), ...content);
  document.body.append(dialog);
  hearIn(dialog);
  dialog.showModal();
  return dialog;
}
