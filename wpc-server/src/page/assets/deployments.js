// Deployments: the revisions, the changes of each, and the rollback to one.

const REVISIONS_LIMIT = 20;
const REFRESH = 30000;
const deployments = { active: null, mayDeploy: false, timer: null, seen: null, key: null, open: new Set() };

const changeText = ({ kind, name, change }) => `${change} ${kind} ${name}`;

/** The names of the members that differ between the two sides of a changed item. */
function changedMembers({ before, after }) {
  if (!before || !after) return '';
  const members = (side) => ({ ...(typeof side.entry === 'object' ? side.entry : { value: side.entry }), ...side.module });
  const [old, next] = [members(before), members(after)];
  const names = [...new Set([...Object.keys(old ?? {}), ...Object.keys(next ?? {})])];
  return names.filter((name) => JSON.stringify(old[name]) !== JSON.stringify(next[name])).map(words).join(', ');
}

function changeList(changes) {
  if (!changes.length) return element('p', { class: 'note', text: 'no differences' });
  return element('ul', { class: 'changes' }, ...changes.map((change) => {
    const members = change.change === 'changed' ? changedMembers(change) : '';
    return element('li', {}, changeText(change), element('span', { class: 'muted', text: members ? ` · ${members}` : '' }));
  }));
}

async function read(path, options) {
  const response = await request(path, options);
  if (!response.ok) throw Object.assign(new Error(), { problem: await problemOf(response) });
  return response.json();
}

const reasonOf = (error) => (error.problem ? `${error.problem.title}: ${error.problem.detail}` : error.message);

async function toggleChanges(number, button, panel) {
  const opens = panel.hidden;
  button.setAttribute('aria-expanded', String(opens));
  panel.hidden = !opens;
  if (!opens) return deployments.open.delete(number);
  deployments.open.add(number);
  try {
    const { changes } = await read(`/v1/revisions/${number}/diff`);
    panel.replaceChildren(changeList(changes));
  } catch (error) {
    panel.replaceChildren(element('p', { class: 'error-text', text: reasonOf(error) }));
  }
}

async function rollBack(number) {
  const { active } = deployments;
  setText($('deployments-error'), '');
  try {
    const { changes } = await read(`/v1/revisions/${number}/diff?from=${active}`);
    const list = changes.slice(0, 8).map(changeText).join(', ') || 'nothing';
    const more = changes.length > 8 ? ` and ${changes.length - 8} more` : '';
    if (!await confirmed(`Roll back to revision ${number}?`, `Compared with revision ${active}: ${list}${more}.`, 'Roll back')) return;
    await read('/v1/rollback', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ to: number, expected: active }),
    });
  } catch (error) {
    setText($('deployments-error'), reasonOf(error));
  }
  refreshDeployments();
}

function revisionItem(revision, active) {
  const { number, author, time, note } = revision;
  const panel = element('div', { hidden: true, id: `changes-${number}` });
  const changes = element('button', { type: 'button', class: 'quiet', text: 'Changes', 'aria-expanded': 'false', 'aria-controls': panel.id, 'aria-label': `Changes in revision ${number}` });
  changes.addEventListener('click', () => toggleChanges(number, changes, panel));
  const back = element('button', { type: 'button', text: 'Roll back', 'aria-label': `Roll back to revision ${number}`, disabled: !deployments.mayDeploy, title: deployments.mayDeploy ? null : 'Your token lacks the scope deploy.', onclick: () => rollBack(number) });
  const item = element('li', {},
    element('div', { class: 'revision-head' },
      shape(number === active ? 'ok' : 'info'),
      element('strong', { text: `Revision ${number}` }),
      number === active ? element('span', { class: 'ok-text', text: 'active' }) : null,
      element('span', { class: 'revision-tools' }, changes, number === active ? null : back)),
    element('p', { class: 'note', text: `${author} · ${time.replace('T', ' ').slice(0, 19)}${note ? ` · ${note}` : ''}` }),
    panel);
  if (deployments.open.has(number)) toggleChanges(number, changes, panel);
  return item;
}

/** Reads the revisions, now and periodically, because a registered revision need not be active. */
async function refreshDeployments() {
  clearTimeout(deployments.timer);
  deployments.timer = null;
  if (state === 'live') {
    try {
      const { active, revisions } = await read(`/v1/revisions?limit=${REVISIONS_LIMIT}`);
      const key = JSON.stringify([active, revisions, deployments.mayDeploy]);
      if (key !== deployments.key) {
        [deployments.key, deployments.active] = [key, active];
        $('revisions').replaceChildren(...revisions.map((revision) => revisionItem(revision, active)));
      }
      deployments.listed = revisions.length > 0;
      $('deployments').hidden = !deployments.listed && $('not-served').hidden;
      setText($('deployments-note'), deployments.mayDeploy ? '' : 'read-only: the scope deploy is missing');
    } catch (error) {
      setText($('deployments-error'), reasonOf(error));
    }
  }
  deployments.timer = setTimeout(refreshDeployments, REFRESH);
}

/** Entries of the deployment that are not served, with the reason. */
function showNotServed(notServed, count) {
  const key = JSON.stringify([notServed, count]);
  if (key === deployments.notServed) return;
  deployments.notServed = key;
  const items = notServed.map(([name, reason]) => element('li', {}, shape('bad'), element('span', {}, `not served: ${name}`, element('span', { class: 'muted', text: ` · ${reason}` }))));
  if (count > items.length) items.push(element('li', { class: 'muted', text: `and ${count - items.length} more` }));
  $('not-served').replaceChildren(...items);
  $('not-served').hidden = count === 0;
}

/** Reads the revisions again if another one is active, or if the rights have changed. */
function showDeployments({ deployment, principal, not_served: notServed, not_served_count: count }) {
  showNotServed(notServed, count);
  if (!deployment) {
    clearTimeout(deployments.timer);
    deployments.timer = null;
    deployments.listed = false;
    $('deployments').hidden = count === 0;
    return;
  }
  const mayDeploy = principal.scopes.includes('deploy');
  const seen = `${deployment.active} ${mayDeploy}`;
  if (deployments.timer !== null && seen === deployments.seen) return;
  Object.assign(deployments, { mayDeploy, seen });
  refreshDeployments();
}
