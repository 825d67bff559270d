// The table of functions: one page of them, in the order that the server chose.

const FUNCTIONS_LIMIT = 50;
const view = { sort: null, search: '', problems: false, offset: 0, selected: null };
const functionRows = new Map();

function functionParameters() {
  const query = new URLSearchParams({ limit: FUNCTIONS_LIMIT });
  if (view.sort) query.set('sort', view.sort);
  if (view.search) query.set('search', view.search);
  if (view.problems) query.set('problems', 'true');
  if (view.offset) query.set('offset', view.offset);
  if (view.selected) query.set('function', view.selected);
  return query;
}

/** The state of a function's circuit breaker: a shape, a text, and whether it needs attention. */
function breakerOf(row) {
  const { closed, backing_off: backing, open, half_open: half } = row.breakers;
  const all = closed + backing + open + half;
  if (all === 0) return { kind: 'wait', text: row.stopped ? 'No workers' : 'Cannot run' };
  const on = (count) => (count === all ? '' : ` on ${count} of ${all}`);
  if (open) return { kind: 'bad', text: `Open${on(open)}`, failing: true };
  if (half) return { kind: 'warn', text: `Half-open${on(half)}`, failing: true };
  if (backing) return { kind: 'warn', text: `Backing off${on(backing)}`, failing: true };
  return { kind: 'ok', text: 'Closed' };
}

/** The last failure, without the name that the row already shows. */
function reasonOfFailure({ name, failure: { code, message } }) {
  const prefix = `function "${name}" `;
  return message.startsWith(prefix) ? message.slice(prefix.length) : `${words(code)}: ${message}`;
}

const COLUMNS = [
  { label: 'Calls/s', text: (row) => rate(row.rate) },
  { label: 'p50', text: (row) => seconds(row.p50) },
  { label: 'p99', text: (row) => seconds(row.p99) },
  { label: 'Errors/s', text: (row) => rate(row.error_rate), title: (row) => row.codes.map(([code, count]) => `${words(code)}: ${grouped.format(count)}`).join('\n') || 'no errors' },
  null,
  { label: 'Sandboxes', text: (row) => grouped.format(row.sandboxes) },
  { label: 'Memory', text: (row) => bytes(row.memory) },
  { label: 'Fuel/s', text: (row) => (row.fuel ? rate(row.fuel_rate) : NONE) },
];

/** The elements of a function's row, which later frames update. */
function createFunctionRow(name) {
  const button = element('button', { type: 'button', class: 'name mono', tabindex: '-1', title: name, text: name, onclick: () => openDetails(name) });
  const row = element('tr', {}, element('th', { scope: 'row' }, button));
  const cells = COLUMNS.map((column) => {
    const cell = column
      ? element('td', { class: 'number', 'data-label': column.label })
      : element('td', { class: 'state' }, shape('ok'), element('span'), element('span', { class: 'reason' }));
    row.append(cell);
    return cell;
  });
  const module = element('td', { class: 'mono muted', 'data-label': 'Module' });
  row.append(module);
  return { row, button, cells, module, data: null };
}

function updateFunctionRow(entry, data) {
  entry.data = data;
  COLUMNS.forEach((column, at) => {
    const cell = entry.cells[at];
    if (!column) {
      const { kind, text, failing } = breakerOf(data);
      const [mark, label, reason] = cell.children;
      setClass(mark, `shape ${kind}`);
      setText(label, text);
      const why = failing && data.failure ? ` · ${reasonOfFailure(data)}` : '';
      setText(reason, why);
      setAttribute(cell, 'title', why ? `${text}${why}` : null);
      return;
    }
    const text = column.text(data);
    setText(cell, text);
    setClass(cell, `number${text === '0' || text === NONE ? ' zero' : ''}${column.label === 'Errors/s' && data.error_rate > 0 ? ' bad-text' : ''}`);
    if (column.title) setAttribute(cell, 'title', column.title(data));
  });
  setText(entry.module, data.hash.slice(0, 8));
  setAttribute(entry.module, 'title', `SHA-1 ${data.hash}`);
}

function showFunctions(frame) {
  const { total, matching, offset, sort } = frame.functions;
  const body = $('functions-rows');
  const stopped = frame.server.stage === 'stopped';
  let names = frame.rows.map((row) => {
    // A row that has not changed is only its name.
    const name = typeof row === 'string' ? row : row.name;
    let entry = functionRows.get(name);
    if (!entry) functionRows.set(name, entry = createFunctionRow(name));
    if (typeof row !== 'string') entry.data = row;
    if (entry.data) updateFunctionRow(entry, { ...entry.data, stopped });
    return name;
  });
  const shown = new Set(names);
  for (const name of functionRows.keys()) if (!shown.has(name)) functionRows.delete(name);
  // While the pointer or the focus is in the table, its rows keep their order.
  if (view.settled && (body.matches(':hover') || body.contains(document.activeElement))) {
    const before = [...body.children].map((row) => row.dataset.name).filter((name) => shown.has(name));
    const placed = new Set(before);
    names = before.concat(names.filter((name) => !placed.has(name)));
  }
  view.settled = true;
  arrange(body, names.map((name) => {
    const entry = functionRows.get(name);
    entry.row.dataset.name = name;
    return entry.row;
  }));
  keepOneTabStop(body);
  for (const header of document.querySelectorAll('[data-sort]')) {
    const order = header.dataset.sort === 'name' ? 'ascending' : 'descending';
    setAttribute(header, 'aria-sort', header.dataset.sort === sort ? order : null);
  }
  const filtered = view.search || view.problems;
  setText($('functions-count'), filtered ? `${grouped.format(matching)} of ${plural(total, 'function')}` : plural(total, 'function'));
  view.offset = offset;
  const last = offset + names.length;
  $('pages').hidden = matching <= names.length;
  setText($('page-range'), `${grouped.format(offset + 1)}–${grouped.format(last)} of ${grouped.format(matching)}`);
  $('previous').disabled = offset === 0;
  $('next').disabled = last >= matching;
  view.next = last;
  showEmpty(total, matching);
}

function showEmpty(total, matching) {
  const empty = $('functions-empty');
  empty.hidden = matching > 0;
  const kind = total === 0 ? 'none' : view.problems && !view.search ? 'healthy' : 'unmatched';
  if (empty.hidden || empty.dataset.kind === kind) return;
  empty.dataset.kind = kind;
  const paragraph = (text) => element('p', { text });
  if (kind === 'none') {
    empty.replaceChildren(
      paragraph('No function is defined yet. Create one, name it in the manifest, and serve that:'),
      element('pre', { text: 'wpc new greeter\nwpc build greeter\nwpc serve wpc.toml --watch' }),
    );
  } else empty.replaceChildren(paragraph(kind === 'healthy' ? 'No function has a problem.' : 'No function matches the search.'));
}

/** The table has one tab stop; the arrow keys move between names. */
function keepOneTabStop(body) {
  const names = [...body.querySelectorAll('.name')];
  if (names.some((name) => name.tabIndex === 0)) return;
  if (names[0]) names[0].tabIndex = 0;
}

function moveInTable(event) {
  const names = [...$('functions-rows').querySelectorAll('.name')];
  const at = names.indexOf(document.activeElement);
  if (at < 0) return;
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: names.length - 1 }[event.key];
  const target = names[to];
  if (to === undefined || !target) return;
  event.preventDefault();
  for (const name of names) name.tabIndex = -1;
  target.tabIndex = 0;
  target.focus();
}

function watchFunctionControls(reconnect) {
  const change = (values) => {
    Object.assign(view, values, { settled: false });
    reconnect();
  };
  let typing;
  $('search').addEventListener('input', () => {
    clearTimeout(typing);
    typing = setTimeout(() => change({ search: $('search').value.trim(), offset: 0 }), 200);
  });
  $('filters').addEventListener('submit', (event) => event.preventDefault());
  $('problems').addEventListener('change', () => change({ problems: $('problems').checked, offset: 0 }));
  for (const header of document.querySelectorAll('[data-sort]')) {
    header.firstElementChild.addEventListener('click', () => change({ sort: header.dataset.sort, offset: 0 }));
  }
  $('previous').addEventListener('click', () => change({ offset: Math.max(0, view.offset - FUNCTIONS_LIMIT) }));
  $('next').addEventListener('click', () => change({ offset: view.next }));
  $('functions-rows').addEventListener('keydown', moveInTable);
}
