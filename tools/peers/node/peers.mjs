// Keeps Node's pools and does what it is told: a command is a line of JSON on standard input, its answer a
// line on standard output. One process serves the whole run, so that its rounds alternate with the others'.

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { stdin, stdout } from 'node:process';
import { libraries } from './libraries.mjs';
import { run } from './load.mjs';

const pools = new Map();
let last = 0;

const commands = {
  async open({ library, threads }) {
    last += 1;
    pools.set(last, await libraries[library](threads));
    return { pool: last };
  },
  async run({ pool, load }) {
    return { nanoseconds: Number(await run(pools.get(pool), load)) };
  },
  async close({ pool }) {
    await pools.get(pool).close();
    pools.delete(pool);
    return {};
  },
  async memory() {
    // As the other processes are read. `resourceUsage` would begin with the peak of whoever started this one.
    const status = readFileSync('/proc/self/status', 'utf8');
    const bytes = (name) => Number(status.match(new RegExp(`${name}:\\s+(\\d+) kB`))[1]) * 1024;
    return { resident: bytes('VmRSS'), peak: bytes('VmHWM') };
  },
};

for await (const line of createInterface({ input: stdin })) {
  const { command, ...rest } = JSON.parse(line);
  const answer = await commands[command](rest).catch((error) => ({ error: String(error) }));
  stdout.write(`${JSON.stringify(answer)}\n`);
}
// The input's end is the end, whatever pools are left.
process.exit(0);
