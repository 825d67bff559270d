// The state of the connection, and what the page shows in each.

const THEMES = ['system', 'light', 'dark'];
const systemIsDark = matchMedia('(prefers-color-scheme: dark)');
let theme = 'system';
try { theme = localStorage.getItem('wpc-theme') ?? 'system'; } catch { /* The browser forbids it. */ }

function applyTheme() {
  const dark = theme === 'dark' || (theme !== 'light' && systemIsDark.matches);
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
  setText($('theme'), `Theme: ${theme}`);
  setAttribute($('theme'), 'aria-label', `Theme: ${theme}. Change it`);
}

systemIsDark.addEventListener('change', applyTheme);
$('theme').addEventListener('click', () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  try { localStorage.setItem('wpc-theme', theme); } catch { /* Then it lasts until the page is left. */ }
  applyTheme();
});
applyTheme();

const STATES = {
  connecting: { kind: 'wait', text: 'Connecting' },
  live: { kind: 'ok', text: 'Live' },
  lost: { kind: 'bad', text: 'Disconnected', banner: 'The server does not respond. The figures below are from %s; the page tries again.' },
  stopped: { kind: 'warn', text: 'Server stopped', banner: 'The server has stopped. The figures below are from %s; the page reconnects when the server is back.' },
  refused: { kind: 'warn', text: 'Waiting', banner: 'The server refused: %d. The page tries again.' },
  unauthorised: { kind: 'warn', text: 'Token required' },
  forbidden: { kind: 'warn', text: 'Not allowed' },
};

let state = 'connecting';
let lastFrame = null;

function setState(next, detail = '') {
  // Between two attempts to connect, a stopped server is still shown as stopped.
  if (next === 'lost' && state === 'stopped') return;
  const changed = next !== state;
  state = next;
  // The field for the token keeps its content while the user types.
  if (!changed && (next === 'live' || next === 'unauthorised' || next === 'forbidden')) return;
  const { kind, text, banner } = STATES[next];
  setClass(document.querySelector('#connection .shape'), `shape ${kind}`);
  setText($('connection-text'), text);
  const asks = next === 'unauthorised' || next === 'forbidden';
  if (asks && $('details').open) $('details').close();
  $('sign-in').hidden = !asks;
  $('data').hidden = asks || (!lastFrame && next !== 'connecting' && next !== 'live');
  $('data').classList.toggle('stale', next !== 'live' && next !== 'connecting');
  const since = lastFrame ? clock(lastFrame.time) : null;
  $('banner').hidden = !banner;
  setClass($('banner'), `banner${kind === 'bad' ? ' bad' : ''}`);
  const withoutData = 'The server does not respond. The page tries again.';
  setText($('banner'), !banner ? '' : since || next === 'refused' ? banner.replace('%s', since).replace('%d', detail) : withoutData);
  if (asks) askForToken(next, detail);
  if (next === 'live') document.title = 'wpc';
  else if (next !== 'connecting') document.title = `${text} · wpc`;
}

function askForToken(reason, detail) {
  const had = token.get() !== null;
  setText($('sign-in-title'), reason === 'forbidden' ? 'Scope missing' : 'Token required');
  setText($('sign-in-error'), had || reason === 'forbidden' ? detail : '');
  $('who').hidden = true;
  $('sign-out').hidden = !had;
  $('token').value = '';
  $('token').focus();
}

function showPrincipal({ name, scopes }) {
  const administers = scopes.includes('deploy') || scopes.includes('admin');
  $('who').hidden = false;
  setText($('who'), administers ? name : `${name} · read-only`);
  setAttribute($('who'), 'title', `${name}: ${scopes.join(', ') || 'no scopes'}`);
  $('sign-out').hidden = token.get() === null;
}

let started = null;

function showFrame(frame) {
  if (started !== null && started !== frame.server.started) {
    forgetRecent();
    history.length = 0;
    started = frame.server.started;
    page.reconnect();
    return;
  }
  started = frame.server.started;
  lastFrame = frame;
  showPrincipal(frame.principal);
  showTotals(frame);
  showRecent(frame);
  showWorkers(frame);
  showNodes(frame);
  showFunctions(frame);
  showDetails(frame);
  showDeployments(frame);
}

$('sign-in-form').addEventListener('submit', (event) => {
  event.preventDefault();
  token.set($('token').value.trim());
  setState('connecting');
  page.reconnect();
});
$('sign-out').addEventListener('click', () => {
  token.remove();
  lastFrame = null;
  functionRows.clear();
  $('functions-rows').replaceChildren();
  forgetRecent();
  setState('connecting');
  page.reconnect();
});

const page = follow(() => {
  const query = functionParameters();
  if (lastNumber) query.set('after', lastNumber);
  return query;
}, { frame: showFrame, state: setState });
watchFunctionControls(page.reconnect);
watchDetailControls();
