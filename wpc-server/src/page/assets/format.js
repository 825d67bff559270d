// Numbers and times as text of nearly constant width.

const NONE = '–';
const grouped = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

/** Three significant digits with a suffix, such as 12.3k. */
function short(number) {
  for (const [size, suffix] of [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e4, 'k']]) {
    if (number >= size) {
      const unit = suffix === 'k' ? 1e3 : size;
      const value = number / unit;
      return value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0) + suffix;
    }
  }
  return grouped.format(number);
}

function rate(number) {
  if (number === null || number === undefined) return NONE;
  if (number === 0) return '0';
  if (number < 0.05) return '<0.1';
  return number < 100 ? number.toFixed(1) : short(number);
}

/** A duration given in seconds. */
function seconds(value) {
  if (value === null || value === undefined) return NONE;
  const digits = (number) => number.toFixed(number < 10 ? 2 : number < 100 ? 1 : 0);
  if (value < 1e-3) return `${Math.max(1, Math.round(value * 1e6))} µs`;
  return value < 1 ? `${digits(value * 1e3)} ms` : `${digits(value)} s`;
}

function bytes(number) {
  if (!number) return '0';
  for (const [size, unit] of [[2 ** 30, 'GiB'], [2 ** 20, 'MiB'], [2 ** 10, 'KiB']]) {
    if (number >= size) return `${(number / size).toFixed(number / size < 10 ? 1 : 0)} ${unit}`;
  }
  return `${number} B`;
}

function uptime(value) {
  const days = Math.floor(value / 86400);
  const [hours, minutes] = [Math.floor(value / 3600) % 24, Math.floor(value / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min` : `${Math.floor(value)} s`;
}

const percent = (share) => `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)}%`;

const plural = (number, noun) => `${grouped.format(number)} ${noun}${number === 1 ? '' : 's'}`;

function clock(millis) {
  return new Date(millis).toLocaleTimeString('en-GB');
}

const timeElement = (millis) =>
  element('time', { datetime: new Date(millis).toISOString(), title: new Date(millis).toLocaleString(), text: clock(millis) });

/** A code such as `bad_arguments` as words. */
const words = (code) => code.replaceAll('_', ' ');

/** Indents JSON without reading its numbers, which may exceed what JavaScript's numbers can hold. */
function pretty(json) {
  let [out, depth, at] = ['', 0, 0];
  const line = () => `\n${'  '.repeat(depth)}`;
  const token = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s"{}[\],:]+/g;
  const tokens = json.match(token) ?? [];
  for (; at < tokens.length; at += 1) {
    const text = tokens[at];
    const closes = tokens[at + 1] === '}' || tokens[at + 1] === ']';
    if (text === '{' || text === '[') {
      if (closes) { out += text + tokens[at + 1]; at += 1; }
      else { depth += 1; out += text + line(); }
    } else if (text === '}' || text === ']') { depth -= 1; out += line() + text; }
    else if (text === ',') out += text + line();
    else out += text === ':' ? ': ' : text;
  }
  return out;
}
