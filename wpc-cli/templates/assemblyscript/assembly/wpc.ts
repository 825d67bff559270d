/**
 * Write functions for wpc in AssemblyScript.
 *
 *     import { Reader, Reply, replyText } from "./wpc";
 *     export { wpc_buffer_v1 } from "./wpc";
 *
 *     export function greet(at: usize, len: usize): Reply {
 *       const args = new Reader(at, len);
 *       const name = args.text();
 *       if (!args.end()) return args.failure();
 *       return replyText("Hello, " + name);
 *     }
 *
 * A reader decodes values: arguments, a constant, a dependency's reply. It keeps its first failure: later
 * reads return empty values, `end()` returns false, and `failure()` returns the reply that reports the
 * failure. So read all values first, then check once.
 *
 * Exceptions cannot be caught in AssemblyScript: `throw` ends the sandbox, and its message reaches the
 * caller. Return `fail(name, message)` if a call fails but the sandbox can go on.
 */

// @ts-ignore: decorator
@external("wpc", "wpc_constant")
declare function hostConstant(name: usize, len: usize, buffer: usize, capacity: usize): i64;
// @ts-ignore: decorator
@external("wpc", "wpc_take")
declare function hostTake(buffer: usize, capacity: usize): i64;
// @ts-ignore: decorator
@external("wpc", "wpc_log")
declare function hostLog(level: i32, at: usize, len: usize): void;
// @ts-ignore: decorator
@external("wpc", "wpc_panic")
declare function hostPanic(at: usize, len: usize): void;
// @ts-ignore: decorator
@external("wpc", "wpc_random")
declare function hostRandom(at: usize, len: usize): void;
// @ts-ignore: decorator
@external("wpc", "wpc_clock")
declare function hostClock(kind: i32): i64;
// @ts-ignore: decorator
@external("wpc", "wpc_yield")
declare function hostYield(at: usize, len: usize): void;

/** The result of a function: address and length of its encoded reply. Never zero. */
export type Reply = u64;

/** The initial capacity for an answer. Most fit; a larger one needs a second call of the host. */
const FIRST_CAPACITY: i32 = 512;

// Functions.

// Not managed by the garbage collector, which cannot see that the host uses it.
let buffer: usize = 0;

/** Allocates the buffer that the host fills with arguments. The main file must re-export it. */
export function wpc_buffer_v1(len: usize): usize {
  if (buffer) heap.free(buffer);
  buffer = heap.alloc(len);
  return buffer;
}

// Keeps the last reply from the garbage collector until the next one.
let lastReply: ArrayBuffer = new ArrayBuffer(0);

/** A guest error: the call fails, the sandbox goes on. `name` is for programs, `message` for people. */
export function fail(name: string, message: string): Reply {
  const out = new Writer();
  out.u8(1);
  out.text(name);
  out.text(message);
  out.text(""); // The stack.
  return out.finish();
}

/** A reply without a value: `()`. */
export function replyNothing(): Reply {
  return Writer.value().finish();
}

/** A reply of one text. */
export function replyText(text: string): Reply {
  const out = Writer.value();
  out.text(text);
  return out.finish();
}

/** A reply of bytes. */
export function replyBytes(bytes: Uint8Array): Reply {
  const out = Writer.value();
  out.bytes(bytes);
  return out.finish();
}

/** A reply of one `bool`. */
export function replyBool(value: bool): Reply {
  const out = Writer.value();
  out.bool(value);
  return out.finish();
}

/** A reply of one `u16`, `u32` or `u64`. */
export function replyU64(value: u64): Reply {
  const out = Writer.value();
  out.u64(value);
  return out.finish();
}

/** A reply of one `i16`, `i32` or `i64`. */
export function replyI64(value: i64): Reply {
  const out = Writer.value();
  out.i64(value);
  return out.finish();
}

/** A reply of one `f64`. */
export function replyF64(value: f64): Reply {
  const out = Writer.value();
  out.f64(value);
  return out.finish();
}

// Items.

/**
 * Yields the written value as an item to the caller of a stream, before the function's result. It returns
 * when the caller has capacity for the item. The writer is empty then and can be used for the next item. The
 * function declares the type of its items: `"(text: String) -> u32 yields String"`.
 */
export function yieldItem(item: Writer): void {
  hostYield(item.at, item.len);
  item.len = 0;
}

/** Yields an item of text. */
export function yieldText(text: string): void {
  const item = new Writer();
  item.text(text);
  yieldItem(item);
}

// Constants and dependencies.

/** Reads a constant, whose value is decoded like arguments. */
export function constant(name: string): Reader {
  const key = String.UTF8.encode(name);
  const at = changetype<usize>(key);
  const what = "constant `" + name + "`";
  let answer = new ArrayBuffer(FIRST_CAPACITY);
  let len = hostConstant(at, key.byteLength, changetype<usize>(answer), answer.byteLength);
  if (len > answer.byteLength) {
    answer = new ArrayBuffer(<i32>len);
    len = hostConstant(at, key.byteLength, changetype<usize>(answer), answer.byteLength);
  }
  if (len < 0) return Reader.failed(fail("ConstantNotDefined", what + " is not defined"));
  return Reader.over(answer, <usize>len, what);
}

/**
 * Calls a function of a dependency, or of the embedder (import module `wpc-host`):
 *
 *     // @ts-ignore: decorator
 *     @external("wpc:path_dep", "basename")
 *     declare function basename(at: usize, len: usize, buffer: usize, capacity: usize): i64;
 *
 *     const reply = call("path_dep::basename", basename, args);
 *
 * The reply is decoded like arguments. If the function returned an error, `failure()` is that error.
 */
export function call(
  name: string,
  imported: (at: usize, len: usize, buffer: usize, capacity: usize) => i64,
  args: Writer,
): Reader {
  const what = "function `" + name + "`";
  let answer = new ArrayBuffer(FIRST_CAPACITY);
  const len = imported(args.at, args.len, changetype<usize>(answer), answer.byteLength);
  if (len > answer.byteLength) {
    answer = new ArrayBuffer(<i32>len);
    hostTake(changetype<usize>(answer), answer.byteLength);
  }
  const reply = Reader.over(answer, <usize>len, what);
  const kind = reply.u8();
  if (kind == 1) {
    lastReply = answer;
    return Reader.failed((<u64>changetype<usize>(answer) << 32) | len);
  }
  if (kind == 2) {
    // This function, not its caller, passed wrong arguments.
    const why = reply.text();
    if (reply.end()) return Reader.failed(fail("BadArguments", what + ": " + why));
  } else if (kind != 0) {
    reply.refuse("the reply has an unknown kind");
  }
  return reply;
}

// Log, panics, randomness, clocks.

/** The level of a log line. */
export enum Level { Error, Warn, Info, Debug, Trace }

/** Writes a line to the host's log. */
export function log(level: Level, line: string): void {
  const text = String.UTF8.encode(line, false, String.UTF8.ErrorMode.REPLACE);
  hostLog(level, changetype<usize>(text), text.byteLength);
}

/** Reports the message of `throw` and failed assertions, with `--use abort=assembly/wpc/abort`. */
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  let why = message ? message : "abort";
  if (file) why += " at " + file + ":" + line.toString() + ":" + column.toString();
  const text = String.UTF8.encode(why, false, String.UTF8.ErrorMode.REPLACE);
  hostPanic(changetype<usize>(text), text.byteLength);
  unreachable();
}

/** Returns random bytes. The definition needs the capability `random`. */
export function random(count: i32): Uint8Array {
  const bytes = new Uint8Array(count);
  hostRandom(bytes.dataStart, count);
  return bytes;
}

/** Nanoseconds since 1970 UTC. The definition needs the capability `clock`. */
export function wallClock(): i64 {
  return hostClock(0);
}

/** Nanoseconds since a fixed moment. The definition needs the capability `clock`. */
export function monotonicClock(): i64 {
  return hostClock(1);
}

/** Encodes values: a reply, an item, or the arguments of a dependency. */
export class Writer {
  private buffer: ArrayBuffer = new ArrayBuffer(64);
  /** The number of written bytes. */
  len: i32 = 0;

  /** Begins a reply. Write the value, then return `finish()`. */
  static value(): Writer {
    const out = new Writer();
    out.u8(0);
    return out;
  }

  /** Returns the written reply. */
  finish(): Reply {
    lastReply = this.buffer;
    return (<u64>this.at << 32) | this.len;
  }

  /** The address of the bytes, valid until more are written. */
  get at(): usize {
    return changetype<usize>(this.buffer);
  }

  /** Appends `len` bytes for the caller to fill, and returns their address, valid until more are written. */
  reserve(len: i32): usize {
    const needed = <i64>this.len + len;
    if (needed > this.buffer.byteLength) {
      assert(needed <= i32.MAX_VALUE, "out of memory");
      // At least doubled, to limit the number of copies.
      const larger = new ArrayBuffer(<i32>min<i64>(max<i64>(needed, <i64>this.len * 2), i32.MAX_VALUE));
      memory.copy(changetype<usize>(larger), this.at, this.len);
      this.buffer = larger;
    }
    this.len += len;
    return this.at + this.len - len;
  }

  /** One byte: a `u8`, or an `i8`. */
  u8(value: u8): void {
    store<u8>(this.reserve(1), value);
  }

  /** A `bool`; also the flag before an optional value. */
  bool(value: bool): void {
    this.u8(value ? 1 : 0);
  }

  /** A `u16`, `u32` or `u64`; also the number of items before a sequence. */
  u64(value: u64): void {
    for (; value >= 128; value >>= 7) this.u8(<u8>value | 128);
    this.u8(<u8>value);
  }

  /** An `i16`, `i32` or `i64`. */
  i64(value: i64): void {
    this.u64((value << 1) ^ (value >> 63));
  }

  /** An `f32`. */
  f32(value: f32): void {
    store<f32>(this.reserve(4), value);
  }

  /** An `f64`. */
  f64(value: f64): void {
    store<f64>(this.reserve(8), value);
  }

  /** Bytes: a `Vec<u8>`. */
  bytes(value: Uint8Array): void {
    this.u64(value.length);
    memory.copy(this.reserve(value.length), value.dataStart, value.length);
  }

  /** Text: a `String`. An unpaired surrogate becomes U+FFFD. */
  text(value: string): void {
    const len = String.UTF8.byteLength(value);
    this.u64(len);
    String.UTF8.encodeUnsafe(changetype<usize>(value), value.length, this.reserve(len), false, String.UTF8.ErrorMode.REPLACE);
  }
}

/** Decodes values. */
export class Reader {
  private stop: usize;
  private failed: Reply = 0;
  // References that keep both from the garbage collector. Arguments are in the host's buffer.
  private source: ArrayBuffer | null = null;
  private failedBytes: ArrayBuffer | null = null;

  /** A reader of the arguments at the address that the host passed. `what` is empty for them. */
  constructor(private at: usize, len: usize, private what: string = "") {
    this.stop = at + len;
  }

  /** A reader of other values. */
  static over(source: ArrayBuffer, len: usize, what: string): Reader {
    const reader = new Reader(changetype<usize>(source), len, what);
    reader.source = source;
    return reader;
  }

  /** A reader without values that has failed. */
  static failed(failure: Reply): Reader {
    const reader = new Reader(0, 0);
    reader.failBy(failure);
    return reader;
  }

  /** Returns whether all bytes were read and nothing failed; trailing bytes are a failure. */
  end(): bool {
    if (this.at != this.stop) this.refuse("trailing bytes after the last value");
    return this.failed == 0;
  }

  /** The reply that reports the failure, after `end()` returned false. */
  failure(): Reply {
    const bytes = this.failedBytes;
    if (bytes) lastReply = bytes;
    return this.failed;
  }

  private failBy(failure: Reply): void {
    this.failed = failure;
    this.failedBytes = lastReply;
  }

  /** Makes the reader fail, unless it has failed before. Use it for values that decode but are invalid. */
  refuse(why: string): void {
    if (this.failed) return;
    this.at = this.stop;
    if (this.what.length) {
      this.failBy(fail("DecodeError", this.what + ": " + why));
    } else {
      const out = new Writer();
      out.u8(2);
      out.text(why);
      this.failBy(out.finish());
    }
  }

  /** The address of the next `len` bytes; zero, and a failure, if there are fewer. */
  raw(len: usize): usize {
    const at = this.at;
    if (len > this.stop - at) {
      this.refuse("the bytes end too early");
      return 0;
    }
    this.at = at + len;
    return at;
  }

  /** One byte: a `u8`, or an `i8`. */
  u8(): u8 {
    const at = this.raw(1);
    return at ? load<u8>(at) : 0;
  }

  /** A `bool`; also the flag before an optional value. */
  bool(): bool {
    const byte = this.u8();
    if (byte > 1) this.refuse("a bool is neither 0 nor 1");
    return byte == 1;
  }

  /** A `u64`. */
  u64(): u64 {
    let value: u64 = 0;
    for (let shift = 0; shift < 64; shift += 7) {
      const byte = this.u8();
      if (shift == 63 && byte > 1) break;
      value |= (<u64>byte & 127) << shift;
      if (byte < 128) return this.failed ? 0 : value;
    }
    this.refuse("a number is too large");
    return 0;
  }

  private atMost(most: u64): u64 {
    const value = this.u64();
    if (value <= most) return value;
    this.refuse("a number is too large");
    return 0;
  }

  /** A `u32`. */
  u32(): u32 {
    return <u32>this.atMost(u32.MAX_VALUE);
  }

  /** A `u16`. */
  u16(): u16 {
    return <u16>this.atMost(u16.MAX_VALUE);
  }

  /** An `i64`. */
  i64(): i64 {
    const value = this.u64();
    return <i64>(value >> 1) ^ -<i64>(value & 1);
  }

  /** An `i32`. */
  i32(): i32 {
    const value = this.u32();
    return <i32>(value >> 1) ^ -<i32>(value & 1);
  }

  /** An `f32`. */
  f32(): f32 {
    const at = this.raw(4);
    return at ? load<f32>(at) : 0;
  }

  /** An `f64`. */
  f64(): f64 {
    const at = this.raw(8);
    return at ? load<f64>(at) : 0;
  }

  /**
   * The number of items of a sequence. It is not trusted, because an item may take no bytes: do not
   * allocate memory for as many items, and stop if `failure()` is not zero.
   */
  count(): u32 {
    return this.u32();
  }

  /** Bytes: a `Vec<u8>`, copied. */
  bytes(): Uint8Array {
    const len = this.count();
    const at = this.raw(len);
    const bytes = new Uint8Array(at ? len : 0);
    if (at) memory.copy(bytes.dataStart, at, len);
    return bytes;
  }

  /** Text: a `String`. */
  text(): string {
    const len = this.count();
    const at = this.raw(len);
    if (!at) return "";
    if (isUtf8(at, at + len)) return String.UTF8.decodeUnsafe(at, len);
    this.refuse("a string is not UTF-8");
    return "";
  }
}

/** Checks for UTF-8, because the standard library decodes invalid bytes too. */
function isUtf8(at: usize, end: usize): bool {
  while (at < end) {
    const first = <u32>load<u8>(at++);
    if (first < 0x80) continue;
    const more: usize = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
    if (first < 0xc2 || first > 0xf4 || more > end - at) return false;
    let character = first & (0x3f >> <u32>more);
    for (const next = at + more; at < next; at++) {
      const byte = <u32>load<u8>(at);
      if ((byte & 0xc0) != 0x80) return false;
      character = (character << 6) | (byte & 0x3f);
    }
    // An overlong encoding, a surrogate, or a number beyond Unicode.
    if (more == 2 && (character < 0x800 || character >> 11 == 0x1b)) return false;
    if (more == 3 && (character < 0x10000 || character > 0x10ffff)) return false;
  }
  return true;
}
