// What tinypool's threads run.

import Tinypool from 'tinypool';

export const add = ([a, b]) => a + b;
export const echo = (bytes) => bytes;
export const move = (bytes) => Tinypool.move(bytes);
export const wait = (milliseconds) => new Promise((ended) => setTimeout(ended, milliseconds));
