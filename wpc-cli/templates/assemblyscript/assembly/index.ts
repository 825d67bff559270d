import { Reader, Reply, fail, replyText } from "./wpc";
export { wpc_buffer_v1 } from "./wpc";

/** Says hello: `wpc call` it with a name. */
export function greet(at: usize, len: usize): Reply {
  const args = new Reader(at, len);
  const name = args.text();
  if (!args.end()) return args.failure();
  if (!name.length) return fail("EmptyName", "there is nobody to greet");

  return replyText(`Hello, ${name}!`);
}
