// Runs Node's pools. A command is a line of JSON on standard input, and its answer is a line on standard output. One
// process serves the whole run, so that its rounds alternate with those of the other libraries.

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { stdin, stdout } from 'node:process';
import { libraries } from './libraries.mjs';
import { run } from './load.mjs';

const pools = new Map();
let last = 0;

const commands = {
  async open({ library, threads, tasks }) {
    last += 1;
    pools.set(last, await libraries[library](threads, tasks));
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
    // Read as for the other processes. `resourceUsage` would include the peak of the parent process.
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
// Exit at the end of the input, even with open pools.
process.exit(0);
