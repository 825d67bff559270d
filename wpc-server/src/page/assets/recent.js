// Recent calls and events, the newest first.

const KEPT = 100;
let lastNumber = 0;

const KEPT_SAMPLES = 20;

/** Puts a node first, and removes the oldest one of its class if there are more than `kept`. A scrolled list stays in place. */
function prepend(list, node, scroller, kept = KEPT) {
  const height = scroller.scrollHeight;
  list.prepend(node);
  const alike = node.className ? list.getElementsByClassName(node.className) : list.children;
  while (alike.length > kept) alike[alike.length - 1].remove();
  if (scroller.scrollTop > 0) scroller.scrollTop += scroller.scrollHeight - height;
}

function callRow(call) {
  const failed = call.code !== undefined;
  const trace = call.trace?.split('-')[1];
  const cell = (text, properties = {}) => element('td', { title: text, ...properties, text });
  return element('tr', { class: failed ? 'failed' : 'succeeded' },
    element('td', {}, timeElement(call.time)),
    element('td', { title: failed ? words(call.code) : 'succeeded' }, shape(failed ? 'bad' : 'ok'), failed ? words(call.code) : 'succeeded'),
    element('td', {}, element('button', { type: 'button', class: 'name mono', title: call.function, text: call.function, onclick: () => openDetails(call.function) })),
    cell(call.ran === undefined ? NONE : call.ran.toFixed(call.ran < 10 ? 2 : 0), { class: 'number', title: null }),
    cell(`${call.id}`, { class: 'mono', title: call.request === undefined ? `call_${call.id}` : `call_${call.id}, request ${call.request}` }),
    trace ? cell(trace.slice(0, 8), { class: 'mono muted', title: `trace ${trace}` }) : cell(NONE, { class: 'zero', title: null }),
    cell(call.message ?? '', { class: 'muted' }),
  );
}

const SEVERITIES = { debug: 'info', info: 'info', warn: 'warn', error: 'bad' };

function eventItem(event) {
  const subject = event.function ?? (event.worker === undefined ? '' : `worker ${event.worker}`);
  const title = element('span', {}, words(event.name), element('span', { class: 'visually-hidden', text: `, ${event.severity}` }));
  return element('li', { title: event.text || null }, shape(SEVERITIES[event.severity] ?? 'info'), title, timeElement(event.time),
    subject || event.text ? element('p', { class: 'text', text: [subject, event.text].filter(Boolean).join(' · ') }) : null);
}

function showRecent(frame) {
  for (const call of frame.calls) {
    prepend($('calls-rows'), callRow(call), $('calls-rows').closest('.scroll'), call.code === undefined ? KEPT_SAMPLES : KEPT);
    lastNumber = Math.max(lastNumber, call.number);
  }
  for (const event of frame.events) {
    noteWorker(event);
    prepend($('events'), eventItem(event), $('events'));
    lastNumber = Math.max(lastNumber, event.number);
  }
  $('calls-empty').hidden = $('calls-rows').childElementCount > 0;
  $('events-empty').hidden = $('events').childElementCount > 0;
}

$('failed-only').addEventListener('change', (event) => {
  $('calls-table').classList.toggle('failed-only', event.target.checked);
});

/** A server that started again counts from the beginning. */
function forgetRecent() {
  lastNumber = 0;
  $('calls-rows').replaceChildren();
  $('events').replaceChildren();
  workerNotes.clear();
}
