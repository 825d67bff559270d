// Uses the types that openapi-typescript generated from a server's document.

import type { components, paths } from "./generated";

type Call<P extends keyof paths> = paths[P]["post"];
type Add = Call<"/v1/functions/add/call">;
type Order = Call<"/v1/functions/order/call">;

const sum: Add["requestBody"]["content"]["application/json"] = { a: 40, b: 2 };
const result: Add["responses"]["200"]["content"]["application/json"] = 42;

// @ts-expect-error: an argument is missing.
const half: Add["requestBody"]["content"]["application/json"] = { a: 40 };

const order: Order["requestBody"]["content"]["application/json"] = {
  orders: [{ item: "tea", count: 2 }],
  prices: { tea: 300 },
};

const answer: components["schemas"]["Answer"] = { Accepted: { total: 600 } };

function show(problem: components["schemas"]["Problem"]): string {
  return `${problem.status} ${problem.code}: ${problem.detail}`;
}

export { answer, half, order, result, show, sum };
