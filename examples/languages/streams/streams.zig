//! Two functions in Zig that yield items.

const std = @import("std");
const wpc = @import("wpc.zig");
pub const panic = wpc.panic;

/// Yields the words of a text, which spaces separate, and returns their number.
fn words(text: []const u8) !u32 {
    var count: u32 = 0;
    var rest = std.mem.tokenizeScalar(u8, text, ' ');
    while (rest.next()) |word| : (count += 1) try wpc.yieldItem(word);
    return count;
}

/// Yields the numbers below `end`.
fn numbers(end: u64) !void {
    var number: u64 = 0;
    while (number < end) : (number += 1) try wpc.yieldItem(number);
}

comptime {
    wpc.function("words", words);
    wpc.function("numbers", numbers);
}
