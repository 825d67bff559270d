// The three libraries. All threads are started before the first call.
//
// Bytes: a caller keeps its payload, as with the other libraries. Node clones small payloads. From `TRANSFER` bytes it
// is faster to copy a payload once and to transfer the copy in both directions, which all three libraries document.

import { fileURLToPath } from 'node:url';
import Piscina from 'piscina';
import Tinypool from 'tinypool';
import workerpool from 'workerpool';

const TRANSFER = 16 * 1024;

const file = (name) => new URL(`./functions/${name}.mjs`, import.meta.url).href;

// piscina, and tinypool, which started as a fork of it, have the same interface.
function piscinaLike(pool) {
  const moved = (bytes) => {
    const copy = bytes.slice();
    return pool.run(copy, { name: 'move', transferList: [copy.buffer] });
  };
  return {
    add: (a, b) => pool.run([a, b], { name: 'add' }),
    echo: (bytes) => (bytes.length < TRANSFER ? pool.run(bytes, { name: 'echo' }) : moved(bytes)),
    wait: (milliseconds) => pool.run(milliseconds, { name: 'wait' }),
    close: () => pool.destroy(),
  };
}

async function warm(pool, threads) {
  await Promise.all(Array.from({ length: threads * 8 }, () => pool.add(1, 2)));
  return pool;
}

// `tasks` is how many tasks a thread runs at a time, if they wait; workerpool's threads run one.
export const libraries = {
  // Atomics wake threads fastest, but a thread that waits by them runs no timers, so they are off for tasks that wait. Histograms of calls
  // are off.
  piscina: (threads, tasks) =>
    warm(
      piscinaLike(
        new Piscina({
          filename: file('piscina'),
          minThreads: threads,
          maxThreads: threads,
          idleTimeout: Infinity,
          atomics: tasks > 1 ? 'disabled' : 'sync',
          concurrentTasksPerWorker: tasks,
          recordTiming: false,
        }),
      ),
      threads,
    ),

  // Atomics are the default.
  tinypool: (threads, tasks) =>
    warm(
      piscinaLike(
        new Tinypool({
          filename: file('tinypool'),
          minThreads: threads,
          maxThreads: threads,
          idleTimeout: Infinity,
          useAtomics: tasks === 1,
          concurrentTasksPerWorker: tasks,
        }),
      ),
      threads,
    ),

  // Threads, because the default is processes on some platforms.
  workerpool: (threads) => {
    const pool = workerpool.pool(fileURLToPath(file('workerpool')), {
      minWorkers: threads,
      maxWorkers: threads,
      workerType: 'thread',
    });
    const moved = (bytes) => {
      const copy = bytes.slice();
      return pool.exec('move', [copy], { transfer: [copy.buffer] });
    };
    return warm(
      {
        add: (a, b) => pool.exec('add', [a, b]),
        echo: (bytes) => (bytes.length < TRANSFER ? pool.exec('echo', [bytes]) : moved(bytes)),
        close: () => pool.terminate(true),
      },
      threads,
    );
  },
};
