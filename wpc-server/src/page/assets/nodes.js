// The nodes of a cluster: their state, what they run, and their calls.

const NODE_STATES = {
  ready: { kind: 'ok', text: 'ready' },
  behind: { kind: 'warn', text: 'behind' },
  draining: { kind: 'wait', text: 'draining' },
  lost: { kind: 'bad', text: 'lost' },
};

/** Reports come every second or so; a tenth of one shows that they come. */
const age = (value) => (value < 10 ? `${value.toFixed(1)} s` : uptime(value));

const nodeRows = new Map();

/** The elements of a node's row, which later frames update. */
function createNodeRow(name) {
  const cell = (label, properties = {}, ...children) => element('td', { 'data-label': label, ...properties }, ...children);
  const number = (label) => cell(label, { class: 'number' });
  const [own, mark, state, meter, calls] = [element('span', { class: 'muted' }), shape('wait'), element('span'), element('meter', { min: '0', 'aria-label': `Calls in flight of ${name}` }), element('span')];
  const cells = {
    state: cell('State', { class: 'state' }, mark, state),
    revision: cell('Revision'),
    workers: number('Workers'),
    load: cell('Calls in flight', { class: 'number load' }, meter, calls),
    accepted: number('Accepted/s'),
    refused: number('Refused'),
    report: number('Heartbeat'),
    version: cell('Version', { class: 'muted' }),
    problem: cell('Problem', { class: 'problem' }),
  };
  const head = element('th', { scope: 'row', title: name }, element('span', { class: 'mono node-name', text: name }), own);
  return { row: element('tr', {}, head, ...Object.values(cells)), own, mark, stateText: state, meter, calls, ...cells };
}

function updateNodeRow(entry, node, cluster) {
  const { kind, text } = NODE_STATES[node.state] ?? { kind: 'wait', text: words(node.state) };
  const revision = node.revision === null ? 'none' : grouped.format(node.revision);
  const drifts = cluster.active_revision !== null && node.revision !== cluster.active_revision;
  setText(entry.own, node.name === cluster.node ? ' this server' : '');
  setClass(entry.mark, `shape ${kind}`);
  setText(entry.stateText, text);
  setText(entry.revision, drifts ? `${revision}, active ${grouped.format(cluster.active_revision)}` : revision);
  setClass(entry.revision, drifts ? 'warn-text' : '');
  setText(entry.workers, grouped.format(node.workers));
  const full = node.call_limit > 0 && node.calls_in_flight >= node.call_limit;
  setAttribute(entry.meter, 'max', `${Math.max(node.call_limit, 1)}`);
  setAttribute(entry.meter, 'value', `${Math.min(node.calls_in_flight, node.call_limit)}`);
  setClass(entry.meter, full ? 'full' : '');
  setText(entry.calls, `${short(node.calls_in_flight)} of ${short(node.call_limit)}`);
  setText(entry.accepted, rate(node.accept_rate));
  setAttribute(entry.accepted, 'title', `${grouped.format(node.calls_accepted)} in total`);
  setText(entry.refused, short(node.calls_refused));
  setText(entry.report, `${age(node.last_heartbeat_seconds)} ago`);
  setText(entry.version, node.version || NONE);
  setText(entry.problem, node.problem);
  setAttribute(entry.problem, 'title', node.problem || null);
}

function showNodes({ cluster, nodes }) {
  $('nodes').hidden = !cluster;
  if (!cluster) return;
  const shown = new Set(nodes.map((node) => node.name));
  for (const name of nodeRows.keys()) if (!shown.has(name)) nodeRows.delete(name);
  const isOwn = (node) => node.name === cluster.node;
  nodes.sort((a, b) => isOwn(b) - isOwn(a) || (a.name < b.name ? -1 : 1));
  arrange($('nodes-rows'), nodes.map((node) => {
    if (!nodeRows.has(node.name)) nodeRows.set(node.name, createNodeRow(node.name));
    const entry = nodeRows.get(node.name);
    updateNodeRow(entry, node, cluster);
    return entry.row;
  }));
  const ready = nodes.filter((node) => node.state === 'ready').length;
  const all = plural(cluster.node_count, 'node');
  const active = cluster.active_revision === null ? 'no active revision' : `revision ${grouped.format(cluster.active_revision)} is active`;
  setText($('nodes-count'), `${nodes.length < cluster.node_count ? `${nodes.length} of ${all}` : `${ready} of ${all} ready`} · ${active}`);
  const messages = [cluster.disconnects && plural(cluster.disconnects, 'disconnect'), cluster.dropped_messages && plural(cluster.dropped_messages, 'dropped message')];
  setText($('nodes-messages'), messages.filter(Boolean).join(' · '));
  $('nodes-note').hidden = cluster.is_connected;
  setText($('nodes-note'), cluster.is_connected ? '' : `This server cannot reach the other nodes. ${cluster.node === null ? 'Calls are refused' : 'It serves its own functions'}; values for other nodes are from their last heartbeats.`);
}
