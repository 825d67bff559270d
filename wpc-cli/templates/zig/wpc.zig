//! Write functions for wpc in Zig.
//!
//!     const wpc = @import("wpc.zig");
//!     pub const panic = wpc.panic;
//!
//!     fn double(number: i32) i64 {
//!         return @as(i64, number) * 2;
//!     }
//!
//!     comptime {
//!         wpc.function("double", double);
//!     }
//!
//! Arguments and results are Zig's own types: `bool`, integers, floats, `[]const u8` (text, checked to
//! be UTF-8), `Bytes`, optionals, slices, arrays, enums, tuples and structs of these, and `void`.
//! `docs/abi.md` specifies the encoding of numbers, fields and variants.
//!
//! An error that a function returns becomes a guest error with its name; `fail` adds a message.
//!
//! Memory from `allocator` is freed when the next call begins. Allocate data that outlives a call from
//! `std.heap.wasm_allocator`.

const std = @import("std");

/// The memory of the running call. It need not be freed.
pub const allocator = arena.allocator();

var arena: std.heap.ArenaAllocator = .init(std.heap.wasm_allocator);

/// Bytes, in contrast to `[]const u8`, which is text.
pub const Bytes = struct { data: []const u8 };

/// Errors of decoding, constants and dependencies.
pub const Error = error{ OutOfMemory, ConstantNotDefined, DecodeError, BadArguments, DependencyFailed };

// Functions.

/// Exports a Zig function to the host by this name.
pub fn function(comptime name: []const u8, comptime body: anytype) void {
    const Export = struct {
        fn run(ptr: [*]const u8, len: usize) callconv(.c) u64 {
            // Keeps the memory that most calls need, and frees more than that.
            _ = arena.reset(.{ .retain_with_limit = 64 * 1024 });
            message_of = null;
            dependency_reply = null;
            return pack(reply(ptr[0..len]) catch |err| switch (err) {
                error.OutOfMemory => panicked("out of memory", null),
            });
        }

        fn reply(bytes: []const u8) error{OutOfMemory}![]const u8 {
            const arguments = decodeAll(std.meta.ArgsTuple(@TypeOf(body)), bytes) catch |err| switch (err) {
                error.OutOfMemory => |out| return out,
                error.Malformed => return encoded(.{ @as(u8, 2), message }),
            };
            const result = @call(.auto, body, arguments);
            if (@typeInfo(@TypeOf(result)) != .error_union) return encoded(.{ @as(u8, 0), result });
            const value = result catch |err| {
                if (@as(anyerror, err) == error.DependencyFailed) {
                    if (dependency_reply) |as_it_is| return as_it_is;
                }
                return encoded(.{ @as(u8, 1), @as([]const u8, @errorName(err)), messageOf(err), "" });
            };
            return encoded(.{ @as(u8, 0), value });
        }
    };
    @export(&Export.run, .{ .name = name });
}

/// An error with a message: `return wpc.fail(error.EmptyName, "the name is empty");`
///
/// An error in Zig is only a name, so the message is kept for that name until the call ends. If a
/// function catches an error with a message and then returns the same error for another reason, a plain
/// `return error.EmptyName` would report the message of the first: use `fail` again, because the latest
/// message is reported; `""` is an empty one. The errors of `Error` have messages too.
pub fn fail(err: anytype, why: []const u8) @TypeOf(err) {
    if (@as(anyerror, err) == error.DependencyFailed) dependency_reply = null;
    message = why;
    message_of = err;
    return err;
}

// The last error and its message, kept until the next call.
var message: []const u8 = "";
var message_of: ?anyerror = null;

fn messageOf(err: anyerror) []const u8 {
    const last = message_of orelse return "";
    return if (last == err) message else "";
}

fn pack(bytes: []const u8) u64 {
    return @as(u64, @intFromPtr(bytes.ptr)) << 32 | bytes.len;
}

var buffer: []u8 = &.{};

fn bufferOf(len: usize) callconv(.c) [*]u8 {
    // Freed first, so that the new one can reuse its memory.
    std.heap.wasm_allocator.free(buffer);
    buffer = std.heap.wasm_allocator.alloc(u8, len) catch panicked("out of memory", null);
    return buffer.ptr;
}

comptime {
    @export(&bufferOf, .{ .name = "wpc_buffer_v1" });
}

// Constants and dependencies.

extern "wpc" fn wpc_constant(name: [*]const u8, len: usize, buffer_ptr: [*]u8, capacity: usize) i64;
extern "wpc" fn wpc_take(buffer_ptr: [*]u8, capacity: usize) i64;

/// The initial capacity for an answer. Most fit; a larger one needs a second call of the host.
const first_capacity = 512;

/// Reads a constant: `try wpc.constant([]const u8, "GREETING")`.
pub fn constant(comptime T: type, comptime name: []const u8) Error!T {
    var answer_buffer = try allocator.alloc(u8, first_capacity);
    var len = wpc_constant(name.ptr, name.len, answer_buffer.ptr, answer_buffer.len);
    if (len > answer_buffer.len) {
        answer_buffer = try allocator.alloc(u8, @intCast(len));
        len = wpc_constant(name.ptr, name.len, answer_buffer.ptr, answer_buffer.len);
    }
    if (len < 0) return fail(error.ConstantNotDefined, "constant `" ++ name ++ "` is not defined");
    return decodeOf(T, "constant `" ++ name ++ "`", answer_buffer[0..@intCast(len)]);
}

/// A function of a dependency:
///
///     const basename = wpc.dependency("path_dep", "basename", []const u8);
///     const name = try basename(.{path});
///
/// `Result` is its result; arguments are passed as a tuple. If it returns an error, the error here is
/// `error.DependencyFailed`. A function that returns this one returns the dependency's error unchanged; of
/// several the last.
pub fn dependency(comptime alias: []const u8, comptime name: []const u8, comptime Result: type) fn (anytype) Error!Result {
    return callable("wpc:" ++ alias, alias ++ "::" ++ name, name, Result);
}

/// A function of the embedder that the definition was granted. It is used like one of a dependency.
pub fn hostFunction(comptime name: []const u8, comptime Result: type) fn (anytype) Error!Result {
    return callable("wpc-host", name, name, Result);
}

var dependency_reply: ?[]const u8 = null;

fn callable(
    comptime module: []const u8,
    comptime full_name: []const u8,
    comptime name: []const u8,
    comptime Result: type,
) fn (anytype) Error!Result {
    return struct {
        const what = "function `" ++ full_name ++ "`";
        const imported = @extern(
            *const fn ([*]const u8, usize, [*]u8, usize) callconv(.c) i64,
            .{ .name = name, .library_name = module },
        );

        fn call(arguments: anytype) Error!Result {
            const bytes = try encoded(arguments);
            var answer_buffer = try allocator.alloc(u8, first_capacity);
            const len: usize = @intCast(imported(bytes.ptr, bytes.len, answer_buffer.ptr, answer_buffer.len));
            if (len > answer_buffer.len) {
                answer_buffer = try allocator.alloc(u8, len);
                _ = wpc_take(answer_buffer.ptr, answer_buffer.len);
            }
            const answer = answer_buffer[0..len];
            if (len == 0) return fail(error.DecodeError, what ++ ": the reply has an unknown kind");
            switch (answer[0]) {
                0 => return decodeOf(Result, what, answer[1..]),
                1 => {
                    dependency_reply = answer;
                    return error.DependencyFailed;
                },
                // This function, not its caller, passed wrong arguments.
                2 => {
                    const why = try decodeOf([]const u8, what, answer[1..]);
                    return fail(error.BadArguments, try join(&.{ what, ": ", why }));
                },
                else => return fail(error.DecodeError, what ++ ": the reply has an unknown kind"),
            }
        }
    }.call;
}

fn decodeOf(comptime T: type, comptime what: []const u8, bytes: []const u8) Error!T {
    return decodeAll(T, bytes) catch |err| switch (err) {
        error.OutOfMemory => error.OutOfMemory,
        error.Malformed => fail(error.DecodeError, try join(&.{ what, ": ", message })),
    };
}

/// Concatenates texts.
pub fn join(texts: []const []const u8) error{OutOfMemory}![]const u8 {
    return std.mem.concat(allocator, u8, texts);
}

// Items.

extern "wpc" fn wpc_yield(ptr: [*]const u8, len: usize) void;

/// Yields an item to the caller of a stream, before the function's result: `try wpc.yieldItem(word)`.
///
/// It returns when the caller has capacity for the item, whose encoding is freed then. The function declares
/// the type of its items: `"(text: String) -> u32 yields String"`.
pub fn yieldItem(item: anytype) error{OutOfMemory}!void {
    var out: std.ArrayList(u8) = .empty;
    // The arena reuses the memory, because it is its last allocation.
    defer out.deinit(allocator);
    try encode(&out, item);
    wpc_yield(out.items.ptr, out.items.len);
}

// Log, panics, randomness, clocks.

extern "wpc" fn wpc_log(level: i32, ptr: [*]const u8, len: usize) void;
extern "wpc" fn wpc_panic(ptr: [*]const u8, len: usize) void;
extern "wpc" fn wpc_random(ptr: [*]u8, len: usize) void;
extern "wpc" fn wpc_clock(kind: i32) i64;

/// The level of a log line.
pub const Level = enum(i32) { err, warn, info, debug, trace };

/// Writes a line to the host's log.
pub fn log(level: Level, line: []const u8) void {
    wpc_log(@intFromEnum(level), line.ptr, line.len);
}

/// Reports the message of a panic before the trap: `pub const panic = wpc.panic;` in the main file.
pub const panic = std.debug.FullPanic(panicked);

fn panicked(why: []const u8, _: ?usize) noreturn {
    wpc_panic(why.ptr, why.len);
    @trap();
}

/// Fills `bytes` with random bytes. The definition needs the capability `random`.
pub fn random(bytes: []u8) void {
    wpc_random(bytes.ptr, bytes.len);
}

/// Nanoseconds since 1970 UTC. The definition needs the capability `clock`.
pub fn wallClock() i64 {
    return wpc_clock(0);
}

/// Nanoseconds since a fixed moment. The definition needs the capability `clock`.
pub fn monotonicClock() i64 {
    return wpc_clock(1);
}

// Encoding.

fn encoded(values: anytype) error{OutOfMemory}![]const u8 {
    var out: std.ArrayList(u8) = .empty;
    try encode(&out, values);
    return out.items;
}

fn encode(out: *std.ArrayList(u8), value: anytype) error{OutOfMemory}!void {
    const T = @TypeOf(value);
    if (T == Bytes) return encodeBytes(out, value.data);
    switch (@typeInfo(T)) {
        .void => {},
        .bool => try out.append(allocator, @intFromBool(value)),
        .int => |int| if (int.bits == 8) {
            try out.append(allocator, @bitCast(value));
        } else if (int.signedness == .signed) {
            const wide: i64 = value;
            try encodeVarint(out, @bitCast((wide << 1) ^ (wide >> 63)));
        } else {
            try encodeVarint(out, value);
        },
        .float => {
            const Bits = @Int(.unsigned, @bitSizeOf(T));
            try out.appendSlice(allocator, &std.mem.toBytes(@as(Bits, @bitCast(value))));
        },
        .optional => {
            try encode(out, value != null);
            if (value) |some| try encode(out, some);
        },
        .@"enum" => for (variants(T), 0..) |variant, position| {
            if (variant == value) return encodeVarint(out, position);
        } else unreachable,
        .array => for (value) |item| try encode(out, item),
        .pointer => |pointer| if (pointer.size == .one) {
            // A literal is a pointer to an array of bytes.
            try encodeBytes(out, value);
        } else if (pointer.child == u8) {
            try encodeBytes(out, value);
        } else {
            try encodeVarint(out, value.len);
            for (value) |item| try encode(out, item);
        },
        .@"struct" => inline for (comptime std.meta.fieldNames(T)) |name| try encode(out, @field(value, name)),
        else => @compileError("wpc cannot encode " ++ @typeName(T)),
    }
}

fn encodeBytes(out: *std.ArrayList(u8), bytes: []const u8) error{OutOfMemory}!void {
    // Allocated at once and exactly, because large replies consist of bytes. A length has at most five
    // bytes.
    try out.ensureTotalCapacityPrecise(allocator, @max(out.capacity, out.items.len + bytes.len + 5));
    try encodeVarint(out, bytes.len);
    try out.appendSlice(allocator, bytes);
}

fn encodeVarint(out: *std.ArrayList(u8), value: u64) error{OutOfMemory}!void {
    var rest = value;
    while (rest >= 128) : (rest >>= 7) try out.append(allocator, @truncate(rest | 128));
    try out.append(allocator, @intCast(rest));
}

/// An enum's variants in their order. A variant is encoded by its position, as in a schema, and not by its
/// declared value.
fn variants(comptime T: type) []const T {
    if (@typeInfo(T).@"enum".mode == .nonexhaustive)
        @compileError("wpc cannot encode " ++ @typeName(T) ++ ": values of a non-exhaustive enum may have no variant");
    return std.enums.values(T);
}

// Decoding. `message` is the reason of `error.Malformed`.

const DecodeError = error{ Malformed, OutOfMemory };

fn malformed(why: []const u8) error{Malformed} {
    return fail(error.Malformed, why);
}

fn decodeAll(comptime T: type, bytes: []const u8) DecodeError!T {
    var in = bytes;
    const value = try decode(T, &in);
    if (in.len != 0) return malformed("trailing bytes after the last value");
    return value;
}

fn decode(comptime T: type, in: *[]const u8) DecodeError!T {
    if (T == Bytes) return .{ .data = try decodeBytes(in) };
    switch (@typeInfo(T)) {
        .void => return {},
        .bool => return switch (try decode(u8, in)) {
            0 => false,
            1 => true,
            else => malformed("a bool is neither 0 nor 1"),
        },
        .int => |int| {
            if (int.bits == 8) return @bitCast((try decodeRaw(in, 1))[0]);
            const Unsigned = @Int(.unsigned, int.bits);
            const bits = std.math.cast(Unsigned, try decodeVarint(in)) orelse
                return malformed("a number is too large");
            if (int.signedness == .unsigned) return bits;
            const half: T = @intCast(bits >> 1);
            return if (bits & 1 == 0) half else ~half;
        },
        .float => return @bitCast(std.mem.bytesToValue(
            @Int(.unsigned, @bitSizeOf(T)),
            (try decodeRaw(in, @sizeOf(T)))[0..@sizeOf(T)],
        )),
        .optional => |optional| return if (try decode(bool, in)) try decode(optional.child, in) else null,
        .@"enum" => {
            const position = try decodeVarint(in);
            const all = variants(T);
            return if (position < all.len) all[@intCast(position)] else malformed("the number of a variant is too large");
        },
        .array => |array| {
            var items: T = undefined;
            for (&items) |*item| item.* = try decode(array.child, in);
            return items;
        },
        .pointer => |pointer| {
            if (pointer.size != .slice) @compileError("wpc cannot decode " ++ @typeName(T));
            if (pointer.child == u8) {
                const text = try decodeBytes(in);
                return if (std.unicode.utf8ValidateSlice(text)) text else malformed("a string is not UTF-8");
            }
            // The count is not trusted: memory is only allocated for items that are present.
            var items: std.ArrayList(pointer.child) = .empty;
            for (0..try decode(u32, in)) |_| try items.append(allocator, try decode(pointer.child, in));
            return items.items;
        },
        .@"struct" => {
            var value: T = undefined;
            inline for (comptime std.meta.fieldNames(T)) |name| {
                @field(value, name) = try decode(@FieldType(T, name), in);
            }
            return value;
        },
        else => @compileError("wpc cannot decode " ++ @typeName(T)),
    }
}

fn decodeBytes(in: *[]const u8) DecodeError![]const u8 {
    return decodeRaw(in, try decode(u32, in));
}

fn decodeRaw(in: *[]const u8, len: usize) DecodeError![]const u8 {
    if (len > in.len) return malformed("the bytes end too early");
    defer in.* = in.*[len..];
    return in.*[0..len];
}

fn decodeVarint(in: *[]const u8) DecodeError!u64 {
    var value: u64 = 0;
    for (0..10) |at| {
        const byte = (try decodeRaw(in, 1))[0];
        if (at == 9 and byte > 1) break;
        value |= @as(u64, byte & 127) << @intCast(7 * at);
        if (byte < 128) return value;
    }
    return malformed("a number is too large");
}
