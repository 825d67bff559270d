const wpc = @import("wpc.zig");
pub const panic = wpc.panic;

/// Returns a greeting.
fn greet(name: []const u8) ![]const u8 {
    if (name.len == 0) return wpc.fail(error.EmptyName, "the name is empty");
    return wpc.join(&.{ "Hello, ", name, "!" });
}

comptime {
    wpc.function("greet", greet);
}
