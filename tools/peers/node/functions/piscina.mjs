// What piscina's threads run.

import { move as transferred } from 'piscina';

export const add = ([a, b]) => a + b;
export const echo = (bytes) => bytes;
export const move = (bytes) => transferred(bytes);
export const wait = (milliseconds) => new Promise((ended) => setTimeout(ended, milliseconds));
