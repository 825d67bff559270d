// Two functions in AssemblyScript that yield items.
import { Reader, Reply, Writer, replyNothing, replyU64, yieldItem, yieldText } from "./wpc";
export { wpc_buffer_v1 } from "./wpc";

/** Yields the words of a text, which spaces separate, and returns their number. */
export function words(at: usize, len: usize): Reply {
  const args = new Reader(at, len);
  const text = args.text();
  if (!args.end()) return args.failure();

  let count = 0;
  for (let start = 0, end = 0; start < text.length; start = end + 1) {
    end = text.indexOf(" ", start);
    if (end < 0) end = text.length;
    if (end == start) continue;
    yieldText(text.substring(start, end));
    count++;
  }
  return replyU64(count);
}

/** Yields the numbers below `end`. */
export function numbers(at: usize, len: usize): Reply {
  const args = new Reader(at, len);
  const end = args.u64();
  if (!args.end()) return args.failure();

  const item = new Writer();
  for (let number: u64 = 0; number < end; number++) {
    item.u64(number);
    yieldItem(item);
  }
  return replyNothing();
}
