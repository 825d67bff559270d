// The connection: requests with the token, the stream of frames, and reconnection.

const TOKEN = 'wpc-token';
const token = {
  get: () => { try { return sessionStorage.getItem(TOKEN); } catch { return null; } },
  set: (value) => { try { sessionStorage.setItem(TOKEN, value); } catch { /* The browser forbids it, so a reload asks for the token again. */ } },
  remove: () => { try { sessionStorage.removeItem(TOKEN); } catch { /* Nothing is stored. */ } },
};

/** Sends a request with the token, if there is one. */
function request(path, options = {}) {
  const headers = new Headers(options.headers);
  const value = token.get();
  if (value) headers.set('authorization', `Bearer ${value}`);
  return fetch(path, { ...options, headers, cache: 'no-store', redirect: 'error', credentials: 'omit' });
}

/** The problem document of a failed response, or one that describes it. */
async function problemOf(response) {
  try {
    const problem = await response.json();
    if (problem && typeof problem === 'object' && typeof problem.detail === 'string') return problem;
  } catch { /* It is not JSON. */ }
  return { title: `HTTP status ${response.status}`, detail: response.statusText, code: `http_${response.status}` };
}

/** The events of a body of Server-Sent Events, as `{event, data}`. */
async function* serverSentEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let [rest, event, data] = ['', 'message', []];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split(/\r\n|\n|\r/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === '') {
          if (data.length) yield { event, data: data.join('\n') };
          [event, data] = ['message', []];
        } else if (line.startsWith('event:')) event = line.slice(6).trimStart();
        else if (line.startsWith('data:')) data.push(line.slice(5).replace(/^ /, ''));
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** If no frame arrives within this time, the connection is considered lost. */
const SILENCE = 6000;
const FIRST_DELAY = 500;
const MAX_DELAY = 10000;

/** Follows `/v1/live`. `parameters()` is its query; `on` has the methods `frame(data)` and `state(name, detail)`. */
function follow(parameters, on) {
  let [controller, delay, timer] = [null, FIRST_DELAY, null];

  async function connect() {
    clearTimeout(timer);
    controller?.abort();
    const own = controller = new AbortController();
    let silence = setTimeout(() => own.abort(), SILENCE);
    let reason = 'lost';
    try {
      const response = await request(`/v1/live?${parameters()}`, { signal: own.signal });
      if (response.status === 401) return on.state('unauthorised', (await problemOf(response)).detail);
      if (response.status === 403) return on.state('forbidden', (await problemOf(response)).detail);
      if (!response.ok) {
        reason = 'refused';
        throw new Error((await problemOf(response)).detail);
      }
      for await (const { event, data } of serverSentEvents(response.body)) {
        if (own !== controller) return;
        clearTimeout(silence);
        silence = setTimeout(() => own.abort(), SILENCE);
        if (event === 'frame') {
          delay = FIRST_DELAY;
          on.state('live');
          on.frame(JSON.parse(data));
        } else if (event === 'unauthenticated') return connect();
        else if (event === 'stop') reason = 'stopped';
      }
    } catch (error) {
      if (own !== controller) return;
      if (reason === 'refused') on.state('refused', error.message);
    } finally {
      clearTimeout(silence);
    }
    if (own !== controller) return;
    if (reason !== 'refused') on.state(reason);
    timer = setTimeout(connect, delay * (0.75 + Math.random() / 2));
    delay = Math.min(delay * 2, MAX_DELAY);
  }

  // A hidden page needs no frames. When it is shown again, it connects at once.
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') connect();
    else { clearTimeout(timer); controller?.abort(); controller = null; }
  });
  connect();
  return { reconnect: connect };
}
