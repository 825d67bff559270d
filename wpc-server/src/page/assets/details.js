// The drawer with a function's details and the form that calls it.

const details = { name: null, opener: null, form: null, abort: null, hash: null };

function openDetails(name) {
  const dialog = $('details');
  details.opener = document.activeElement;
  details.name = view.selected = name;
  details.hash = null;
  setText($('details-title'), name);
  $('call-output').replaceChildren();
  $('call-items').replaceChildren();
  $('call-items').hidden = true;
  $('call-json').checked = false;
  setText($('call-error'), '');
  showFacts(null);
  if (!dialog.open) dialog.showModal();
  $('details-close').focus();
  page.reconnect();
  describe(name);
}

function closeDetails() {
  // The event occurs after the closing. By then the details may show another function.
  if ($('details').open) return;
  details.abort?.abort();
  details.name = view.selected = null;
  details.opener?.isConnected && details.opener.focus({ preventScroll: true });
  page.reconnect();
}

/** Reads the function's types and documentation, and builds its form. */
async function describe(name) {
  buildForm(null);
  setText($('details-signature'), '');
  setText($('details-documentation'), '');
  try {
    const response = await request(`/v1/functions/${encodeURIComponent(name)}`);
    if (details.name !== name) return;
    if (!response.ok) throw new Error((await problemOf(response)).detail);
    const function_ = await response.json();
    if (details.name !== name) return;
    setText($('details-signature'), function_.signature ? `${name}${function_.signature.text}` : 'Its module declares no types.');
    setText($('details-documentation'), function_.documentation ?? '');
    details.hash = function_.function_hash_sha1;
    buildForm(function_.signature);
  } catch (error) {
    if (details.name === name) setText($('call-error'), `The types are not available: ${error.message}`);
  }
}

function buildForm(signature) {
  const parameters = signature?.parameters;
  const asJson = $('call-json').checked || !parameters;
  const fields = asJson
    ? [field('Arguments, an array', null)]
    : parameters.map((parameter) => field(parameter.name, parameter.type));
  if (asJson) fields[0].input.value = '[]';
  details.form = { signature, read: () => (asJson ? fields[0].read() : `[${fields.map((part) => part.read()).join(',')}]`) };
  $('call-fields').replaceChildren(...fields.map((part) => part.node));
  $('call-watch').hidden = !signature?.items;
}

function showFacts(row) {
  const facts = $('details-facts');
  const list = row
    ? [
        ['Calls', `${rate(row.rate)}/s · ${grouped.format(row.calls)} in total`],
        ['Run time', `p50 ${seconds(row.p50)} · p99 ${seconds(row.p99)}`],
        ['Errors', row.codes.length ? row.codes.map(([code, count]) => `${words(code)} ${grouped.format(count)}`).join(' · ') : 'none'],
        ['Circuit breaker', breakerOf(row).text],
        ['Sandboxes', `${grouped.format(row.sandboxes)} · ${bytes(row.memory)} of memory`],
        ['Fuel', row.fuel ? `${rate(row.fuel_rate)}/s · ${short(row.fuel)} in total` : 'not metered, or none used'],
        ['Module', `SHA-1 ${row.hash}`],
      ]
    : [];
  if (facts.childElementCount !== list.length * 2) {
    facts.replaceChildren(...list.flatMap(([name]) => [element('dt', { text: name }), element('dd', { class: name === 'Module' ? 'mono' : null })]));
  }
  list.forEach(([, text], at) => setText(facts.children[at * 2 + 1], text));
  const failure = row?.failure;
  $('details-failure').hidden = !failure;
  setText($('details-failure'), failure ? `Last failure, ${clock(failure.time)}: ${words(failure.code)}: ${failure.message}` : '');
}

/** Updates the open drawer from a frame. */
function showDetails(frame) {
  if (!details.name) return;
  const row = frame.selected;
  if (!row || row.name !== details.name) {
    setText($('call-note'), 'This function is not defined at the moment.');
    $('call-note').hidden = false;
    $('call-submit').disabled = $('call-watch').disabled = true;
    return;
  }
  showFacts({ ...row, stopped: frame.server.stage === 'stopped' });
  $('call-note').hidden = row.may_call;
  setText($('call-note'), row.may_call ? '' : `Your token may not call this function: it lacks the scope call:${row.name}.`);
  $('call-submit').disabled = $('call-watch').disabled = !row.may_call || details.abort !== null;
  // Another module was deployed under the name: its types may differ.
  if (details.hash && row.hash !== details.hash) {
    details.hash = row.hash;
    describe(row.name);
  }
}

/** A random trace, by which the call is found in logs and traces. */
function traceparent() {
  const random = crypto.getRandomValues(new Uint8Array(24));
  const hex = [...random].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return `00-${hex.slice(0, 32)}-${hex.slice(32)}-01`;
}

/** The maximum number of characters of a result, and of items, that are shown. */
const MAX_SHOWN = 100000;
const MAX_ITEMS = 500;

function showOutput(kind, headline, body, notes) {
  const cut = body.length > MAX_SHOWN ? `${body.slice(0, MAX_SHOWN)}\n… ${grouped.format(body.length - MAX_SHOWN)} more characters` : body;
  $('call-output').replaceChildren(element('div', { class: 'output' },
    element('p', { class: 'headline' }, shape(kind), headline),
    body ? element('pre', { text: cut, tabindex: '0', 'aria-label': 'Result' }) : null,
    element('p', { class: 'note', text: notes.filter(Boolean).join(' · ') })));
}

function showProblem(problem, notes) {
  const guest = problem.guest ? pretty(JSON.stringify(problem.guest)) : '';
  showOutput('bad', `${problem.title}: ${problem.detail}`, guest, [
    problem.code && `code ${problem.code}`,
    problem.outcome && `outcome ${words(problem.outcome)}`,
    problem.retryable === undefined ? '' : problem.retryable ? 'trying again may help' : 'trying again does not help',
    ...notes,
  ]);
}

/** Sends the arguments of the form. `read(response)` shows the answer. */
async function send(accept, read) {
  let body;
  setText($('call-error'), '');
  try {
    body = details.form.read();
  } catch (error) {
    if (!(error instanceof Invalid)) throw error;
    error.input.setAttribute('aria-invalid', 'true');
    setText($('call-error'), error.message);
    error.input.focus();
    return;
  }
  const [abort, trace, begun] = [new AbortController(), traceparent(), performance.now()];
  details.abort = abort;
  $('call-submit').disabled = $('call-watch').disabled = true;
  $('call-stop').hidden = false;
  $('call-output').replaceChildren();
  const took = () => `${((performance.now() - begun) / 1000).toFixed(3)} s including the network`;
  const notes = (response) => {
    const id = response?.headers.get('wpc-call-id');
    return [took(), id, `trace ${trace.split('-')[1]}`];
  };
  try {
    const response = await request(`/v1/functions/${encodeURIComponent(details.name)}/call`, {
      method: 'POST', body, signal: abort.signal,
      headers: { 'content-type': 'application/json', accept, traceparent: trace },
    });
    if (response.ok) await read(response, () => notes(response));
    else showProblem(await problemOf(response), notes(response));
  } catch (error) {
    const stopped = error.name === 'AbortError';
    showOutput(stopped ? 'wait' : 'bad', stopped ? 'Stopped: the call was cancelled' : 'The server did not respond', stopped ? '' : error.message, notes());
  } finally {
    if (details.abort === abort) details.abort = null;
    $('call-submit').disabled = $('call-watch').disabled = false;
    $('call-stop').hidden = true;
  }
}

const call = () => send('application/json', async (response, notes) => {
  showOutput('ok', 'Result', pretty(await response.text()), notes());
});

const watch = () => send('text/event-stream', async (response, notes) => {
  const list = $('call-items');
  list.replaceChildren();
  list.hidden = false;
  let count = 0;
  showOutput('wait', 'Receiving items', '', []);
  for await (const { event, data } of serverSentEvents(response.body)) {
    if (event === 'item') {
      count += 1;
      list.append(element('li', { text: data.length > 2000 ? `${data.slice(0, 2000)}…` : data }));
      if (list.childElementCount > MAX_ITEMS) list.firstElementChild.remove();
      list.scrollTop = list.scrollHeight;
    } else if (event === 'error') return showProblem(JSON.parse(data), [plural(count, 'item'), ...notes()]);
    else if (event === 'result') return showOutput('ok', 'Result', pretty(data), [plural(count, 'item'), ...notes()]);
  }
  showOutput('bad', 'The connection ended before the result', '', [plural(count, 'item'), ...notes()]);
});

function watchDetailControls() {
  $('details').addEventListener('close', closeDetails);
  $('details-close').addEventListener('click', () => $('details').close());
  // A click beside the drawer closes it.
  $('details').addEventListener('click', (event) => { if (event.target === $('details')) $('details').close(); });
  $('call-form').addEventListener('submit', (event) => { event.preventDefault(); if (!$('call-submit').disabled) call(); });
  $('call-watch').addEventListener('click', watch);
  $('call-stop').addEventListener('click', () => details.abort?.abort());
  $('call-json').addEventListener('change', () => buildForm(details.form?.signature ?? null));
}
