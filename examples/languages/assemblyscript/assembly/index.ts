// Three functions in AssemblyScript.
import { Reader, Reply, Writer, call, constant, fail, replyBytes, replyText } from "./wpc";
export { wpc_buffer_v1 } from "./wpc";

// @ts-ignore: decorator
@external("wpc:path_dep", "basename")
declare function basename(at: usize, len: usize, buffer: usize, capacity: usize): i64;

/** Returns the constant GREETING and the name: "Hello, Ada!". */
export function greet(at: usize, len: usize): Reply {
  const args = new Reader(at, len);
  const name = args.text();
  if (!args.end()) return args.failure();
  if (!name.length) return fail("EmptyName", "the name is empty");

  const value = constant("GREETING");
  const greeting = value.text();
  if (!value.end()) return value.failure();

  return replyText(`${greeting}, ${name}!`);
}

/** Returns the bytes in reverse order. */
export function reverse(at: usize, len: usize): Reply {
  const args = new Reader(at, len);
  const bytes = args.bytes();
  if (!args.end()) return args.failure();

  return replyBytes(bytes.reverse());
}

/** Returns the dependency's name of the file: "file: todo.txt". */
export function title(at: usize, len: usize): Reply {
  const args = new Reader(at, len);
  const path = args.text();
  if (!args.end()) return args.failure();

  const pathOnly = new Writer();
  pathOnly.text(path);
  const reply = call("path_dep::basename", basename, pathOnly);
  const name = reply.text();
  if (!reply.end()) return reply.failure();

  return replyText("file: " + name);
}
