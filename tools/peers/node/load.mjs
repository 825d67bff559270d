// Puts a load on a pool: one loop of sequential calls for each outstanding call.

import { hrtime } from 'node:process';

const ADDED = 2;

export async function run(pool, { echo, wait, outstanding, calls }) {
  const bytes = typeof echo === 'number' ? payload(echo) : undefined;
  let sent = 0;
  const lane = async () => {
    while (sent < calls) {
      const number = sent;
      sent += 1;
      if (wait !== undefined) {
        await pool.wait(wait);
      } else if (bytes === undefined) {
        const sum = await pool.add(number, ADDED);
        if (sum !== number + ADDED) throw new Error(`${number} and ${ADDED} are ${sum}`);
      } else if (Buffer.compare(bytes, await pool.echo(bytes)) !== 0) {
        throw new Error('other bytes came back');
      }
    }
  };
  const begun = hrtime.bigint();
  await Promise.all(Array.from({ length: outstanding }, lane));
  return hrtime.bigint() - begun;
}

function payload(length) {
  return Uint8Array.from({ length }, (_, at) => at % 251);
}
