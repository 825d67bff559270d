// Elements. Text of guests and clients becomes text nodes and attributes, never HTML.

const $ = (id) => document.getElementById(id);

/** Creates an element. `class`, `text` and `on…` are set as such, other keys as attributes. */
function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === 'class') node.className = value;
    else if (key === 'text') node.textContent = value;
    else if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? '' : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Sets a text only if it differs, so that screen readers and selections are not disturbed. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setAttribute(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

function setClass(node, value) {
  if (node.className !== value) node.className = value;
}

const shape = (kind) => element('span', { class: `shape ${kind}`, 'aria-hidden': 'true' });

/** Puts the children in this order. Children that are already in order are not moved, so that focus and scroll position stay. */
function arrange(parent, children) {
  const focused = document.activeElement;
  children.forEach((child, at) => {
    if (parent.children[at] !== child) parent.insertBefore(child, parent.children[at] ?? null);
  });
  while (parent.children.length > children.length) parent.lastElementChild.remove();
  if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
}

/** Asks for a confirmation; resolves to a boolean. */
function confirmed(title, text, yes) {
  const dialog = $('confirm');
  setText($('confirm-title'), title);
  setText($('confirm-text'), text);
  setText($('confirm-yes'), yes);
  dialog.returnValue = 'no';
  dialog.showModal();
  $('confirm-no').focus();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}
