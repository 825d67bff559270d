import { Reader, Reply, fail, replyText } from "./wpc";
export { wpc_buffer_v1 } from "./wpc";

/** Returns a greeting. */
export function greet(at: usize, len: usize): Reply {
  const args = new Reader(at, len);
  const name = args.text();
  if (!args.end()) return args.failure();
  if (!name.length) return fail("EmptyName", "the name is empty");

  return replyText(`Hello, ${name}!`);
}
