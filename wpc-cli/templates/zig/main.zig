const wpc = @import("wpc.zig");
pub const panic = wpc.panic;

/// Says hello: `wpc call` it with a name.
fn greet(name: []const u8) ![]const u8 {
    if (name.len == 0) return wpc.fail(error.EmptyName, "there is nobody to greet");
    return wpc.join(&.{ "Hello, ", name, "!" });
}

comptime {
    wpc.function("greet", greet);
}
