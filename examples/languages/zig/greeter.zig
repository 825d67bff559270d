//! Three functions in Zig.

const std = @import("std");
const wpc = @import("wpc.zig");
pub const panic = wpc.panic;

const basename = wpc.dependency("path_dep", "basename", []const u8);

/// Returns the constant GREETING and the name: "Hello, Ada!".
fn greet(name: []const u8) ![]const u8 {
    if (name.len == 0) return wpc.fail(error.EmptyName, "the name is empty");
    const greeting = try wpc.constant([]const u8, "GREETING");
    return wpc.join(&.{ greeting, ", ", name, "!" });
}

/// Returns the bytes in reverse order.
fn reverse(bytes: wpc.Bytes) !wpc.Bytes {
    const reversed = try wpc.allocator.dupe(u8, bytes.data);
    std.mem.reverse(u8, reversed);
    return .{ .data = reversed };
}

/// Returns the dependency's name of the file: "file: todo.txt".
fn title(path: []const u8) ![]const u8 {
    return wpc.join(&.{ "file: ", try basename(.{path}) });
}

comptime {
    wpc.function("greet", greet);
    wpc.function("reverse", reverse);
    wpc.function("title", title);
}
