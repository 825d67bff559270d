// The header: totals and their history, and the tree of workers.

const HISTORY = 60;
const history = [];

function showTotals(frame) {
  const { totals, workers, worker_count: count, server } = frame;
  setText($('stat-rate'), rate(totals.rate));
  setText($('stat-p50'), seconds(totals.p50));
  setText($('stat-p99'), seconds(totals.p99));
  setText($('stat-errors'), rate(totals.error_rate));
  setClass($('stat-errors'), totals.error_rate > 0 ? 'bad-text' : '');
  const share = totals.rate > 0 ? totals.error_rate / totals.rate : 0;
  setText($('stat-error-share'), totals.rate > 0 ? `${percent(share)} of calls` : `${short(totals.errors)} in total`);
  setText($('stat-saturation'), server.stage === 'stopped' ? NONE : percent(totals.saturation));
  setText($('stat-pending'), `${grouped.format(totals.pending)} in flight${totals.waiting ? `, ${grouped.format(totals.waiting)} waiting` : ''}`);
  const inState = (name) => workers.filter((worker) => worker.health_state === name).length;
  const up = inState('ready') + inState('degraded');
  setText($('stat-workers'), count > workers.length ? `${count}` : `${up} of ${count}`);
  const others = ['degraded', 'starting', 'restarting', 'stopped'].filter(inState).map((name) => `${inState(name)} ${name}`);
  setText($('stat-stage'), count === 0 ? 'stopped' : others.join(', ') || 'all ready');
  setText($('stat-instances'), short(totals.live_instances));
  setText($('stat-instance-limit'), `of ${short(totals.live_instance_limit)}`);
  setText($('about'), `version ${server.version} · up ${uptime(server.uptime_seconds)} · ${plural(totals.calls, 'call')}`);
  if (totals.rate !== null) history.push(totals.rate);
  if (history.length > HISTORY) history.shift();
  drawChart();
}

/** The rate of the last minute, the newest at the right. */
function drawChart() {
  if (history.length < 2) return;
  const [width, height, top] = [120, 28, Math.max(...history, 1)];
  const points = history.map((value, at) => {
    const x = width - (history.length - 1 - at) * (width / (HISTORY - 1));
    return `${x.toFixed(1)},${(height - 1 - (value / top) * (height - 4)).toFixed(1)}`;
  });
  const first = points[0].split(',')[0];
  $('chart-line').setAttribute('d', `M${points.join('L')}`);
  $('chart-area').setAttribute('d', `M${first},${height}L${points.join('L')}L${width},${height}Z`);
}

const WORKER_STATES = {
  ready: { kind: 'ok', text: 'ready' },
  starting: { kind: 'wait', text: 'starting' },
  degraded: { kind: 'warn', text: 'degraded' },
  restarting: { kind: 'warn', text: 'restarting' },
  stopped: { kind: 'bad', text: 'stopped' },
};

/** The last event of each worker. */
const workerNotes = new Map();

function noteWorker(event) {
  if (event.worker === undefined || !event.text) return;
  if (!/^worker_(health|error|exited|restart)/.test(event.name)) return;
  workerNotes.set(event.worker, event.text);
  if (workerNotes.size > 256) workerNotes.delete(workerNotes.keys().next().value);
}

const workerNodes = new Map();

function workerNode(worker) {
  const { kind, text } = WORKER_STATES[worker.health_state] ?? { kind: 'wait', text: worker.health_state };
  let entry = workerNodes.get(worker.slot);
  if (!entry) {
    const [mark, name, state, detail] = [shape(kind), element('span'), element('span', { class: 'state' }), element('p', { class: 'detail' })];
    entry = { item: element('li', {}, element('div', { class: 'node' }, mark, name, state, detail)), mark, name, state, detail };
    workerNodes.set(worker.slot, entry);
  }
  setClass(entry.mark, `shape ${kind}`);
  setText(entry.name, `worker ${worker.worker_id}`);
  setText(entry.state, text);
  const parts = [`slot ${worker.slot}`];
  if (worker.running_function) parts.push(`runs ${worker.running_function}`);
  parts.push(`${grouped.format(worker.pending_call_count)} in flight`);
  if (worker.suspended_call_count) parts.push(`${grouped.format(worker.suspended_call_count)} suspended`);
  parts.push(plural(worker.restarts, 'restart'));
  const note = worker.health_state === 'ready' ? undefined : workerNotes.get(worker.worker_id);
  setText(entry.detail, note ? `${parts.join(' · ')} · ${note}` : parts.join(' · '));
  setAttribute(entry.detail, 'title', note ?? null);
  return entry.item;
}

let supervisor;

function showWorkers(frame) {
  const { workers, worker_count: count, totals, server } = frame;
  if (!supervisor) {
    const [mark, state, detail, list] = [shape('ok'), element('span', { class: 'state' }), element('p', { class: 'detail' }), element('ul', { 'aria-label': 'Workers' })];
    const node = element('div', { class: 'node' }, mark, element('span', { text: 'supervisor' }), state, detail);
    supervisor = { mark, state, detail, list };
    $('workers').append(element('li', {}, node, list));
  }
  const running = server.stage !== 'stopped';
  setClass(supervisor.mark, `shape ${running ? 'ok' : 'wait'}`);
  setText(supervisor.state, running ? 'running' : 'stopped');
  const parts = [`${plural(totals.worker_restarts, 'restart')} in total`];
  if (totals.abandoned_threads) parts.push(plural(totals.abandoned_threads, 'abandoned thread'));
  setText(supervisor.detail, parts.join(' · '));
  const nodes = [...workers].sort((a, b) => a.slot - b.slot).map(workerNode);
  arrange(supervisor.list, nodes);
  setText($('workers-count'), count > workers.length ? `${workers.length} of ${plural(count, 'worker')}` : plural(count, 'worker'));
}
