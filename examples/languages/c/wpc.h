/* wpc.h: write functions for wpc in C.
 *
 *     #include "wpc.h"
 *
 *     WPC_FUNCTION(greet)
 *     {
 *         wpc_text name = wpc_read_text(args);
 *         if (!wpc_end(args)) return wpc_failure(args);
 *         return wpc_reply_text(WPC_CONCAT(wpc_str("Hello, "), name));
 *     }
 *
 * A single header in C99 for clang's WebAssembly target. It implements the contract between host and
 * guest (`docs/abi.md`) and needs no library, not even libc. With libc, `#define WPC_LIBC` first, so
 * that memory comes from `malloc`.
 *
 * Terms:
 *  - A reader decodes values: the arguments, a constant, a dependency's reply. It keeps its first
 *    failure: later reads return empty values, `wpc_end` returns false, and `wpc_failure` returns the
 *    reply that reports the failure. So read all values first, then check once.
 *  - A writer encodes values: a reply, an item, or the arguments of a dependency.
 *  - A reply is the result of a function. Build one by `wpc_reply_…`, `wpc_error` or a writer.
 *  - An item is a value that the caller of a stream reads before the result: `wpc_yield`.
 *
 * Memory: everything that the functions below return is valid until the call ends and is freed then.
 * Keep data that outlives a call in static variables, or, with libc, in memory from `malloc`. Without
 * libc this header uses the memory from `__heap_base` on.
 *
 * Several source files may include it; they share one heap. Names that end with `_` are private.
 */
#ifndef WPC_H
#define WPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef WPC_LIBC
#include <stdlib.h>
#include <string.h>
#endif

/* Functions that a source file may leave unused (large ones are not inlined), and definitions that
 * all source files share. */
#define WPC_API_ static inline __attribute__((unused))
#define WPC_LARGE_ static __attribute__((unused, noinline))
#define WPC_SHARED_ __attribute__((weak))

/* ---- Types ------------------------------------------------------------------------------- */

/* Text: UTF-8, not ended by a zero. */
typedef struct wpc_text {
    const char *at;
    size_t len;
} wpc_text;

/* Bytes of any kind. */
typedef struct wpc_bytes {
    const uint8_t *at;
    size_t len;
} wpc_bytes;

/* The result of a function: address and length of its encoded reply. Never zero. */
typedef uint64_t wpc_reply;

/* Decodes values. */
typedef struct wpc_reader {
    const uint8_t *at;
    const uint8_t *end;
    const char *what;  /* the source of the values; NULL for the arguments */
    wpc_reply failure; /* zero unless something failed */
} wpc_reader;

/* Encodes values. A zeroed one is empty. */
typedef struct wpc_writer {
    uint8_t *at;
    size_t len;
    size_t capacity;
} wpc_writer;

/* The level of a log line. */
typedef enum wpc_level { WPC_ERROR, WPC_WARN, WPC_INFO, WPC_DEBUG, WPC_TRACE } wpc_level;

/* ---- Functions of the host --------------------------------------------------------------- */

#define WPC_HOST_(name) __attribute__((import_module("wpc"), import_name(#name)))

WPC_HOST_(wpc_constant) int64_t wpc_host_constant_(const char *, size_t, uint8_t *, size_t);
WPC_HOST_(wpc_take) int64_t wpc_host_take_(uint8_t *, size_t);
WPC_HOST_(wpc_log) void wpc_host_log_(int32_t, const char *, size_t);
WPC_HOST_(wpc_panic) void wpc_host_panic_(const char *, size_t);
WPC_HOST_(wpc_random) void wpc_host_random_(void *, size_t);
WPC_HOST_(wpc_clock) int64_t wpc_host_clock_(int32_t);
WPC_HOST_(wpc_yield) void wpc_host_yield_(const uint8_t *, size_t);

/* ---- Text, log, panic -------------------------------------------------------------------- */

/* A C string as a text. It is not copied. */
WPC_API_ wpc_text wpc_str(const char *string)
{
    wpc_text text = {string, 0};
    while (string[text.len] != '\0') text.len++;
    return text;
}

/* Returns whether two texts are equal. */
WPC_API_ bool wpc_same(wpc_text a, wpc_text b)
{
    size_t at = 0;
    if (a.len != b.len) return false;
    while (at < a.len && a.at[at] == b.at[at]) at++;
    return at == a.len;
}

/* Writes a line to the host's log. */
WPC_API_ void wpc_log(wpc_level level, wpc_text line)
{
    wpc_host_log_((int32_t)level, line.at, line.len);
}

/* Ends the sandbox and reports the message to the caller. Use it for bugs; use `wpc_error` for all
 * other failures. */
WPC_API_ __attribute__((noreturn)) void wpc_panic(const char *why)
{
    wpc_host_panic_(why, wpc_str(why).len);
    __builtin_trap();
}

/* Fills memory with random bytes. The definition needs the capability `random`. */
WPC_API_ void wpc_random(void *at, size_t len)
{
    wpc_host_random_(at, len);
}

/* Nanoseconds since 1970 UTC. The definition needs the capability `clock`. */
WPC_API_ int64_t wpc_wall_clock(void)
{
    return wpc_host_clock_(0);
}

/* Nanoseconds since a fixed moment. The definition needs the capability `clock`. */
WPC_API_ int64_t wpc_monotonic_clock(void)
{
    return wpc_host_clock_(1);
}

/* ---- Memory ------------------------------------------------------------------------------ */

#ifdef WPC_LIBC

/* The header of an allocation of the call. All of them form a list and are freed together. */
typedef union wpc_piece_ {
    union wpc_piece_ *before;
    long double alignment; /* the strictest alignment */
} wpc_piece_;

WPC_SHARED_ wpc_piece_ *wpc_pieces_;
WPC_SHARED_ uint8_t *wpc_buffer_;

/* Frees the memory of the previous call. */
WPC_API_ void wpc_reset_(void)
{
    while (wpc_pieces_ != NULL) {
        wpc_piece_ *piece = wpc_pieces_;
        wpc_pieces_ = piece->before;
        free(piece);
    }
}

/* Resizes `at`, which is from `wpc_alloc` or NULL. It may move; its first `old` bytes are kept. */
WPC_LARGE_ void *wpc_resize_(void *at, size_t old, size_t size)
{
    bool is_last = at != NULL && (wpc_piece_ *)at - 1 == wpc_pieces_;
    wpc_piece_ *before = is_last ? wpc_pieces_->before : wpc_pieces_;
    wpc_piece_ *piece = NULL;
    if (size <= SIZE_MAX - sizeof(wpc_piece_)) {
        piece = (wpc_piece_ *)realloc(is_last ? wpc_pieces_ : NULL, sizeof(wpc_piece_) + size);
    }
    if (piece == NULL) wpc_panic("out of memory");
    if (at != NULL && !is_last) memcpy(piece + 1, at, old);
    piece->before = before;
    wpc_pieces_ = piece;
    return piece + 1;
}

/* Frees the last allocation of the call. */
WPC_API_ void wpc_free_last_(void *at)
{
    wpc_piece_ *piece = (wpc_piece_ *)at - 1;
    wpc_pieces_ = piece->before;
    free(piece);
}

/* Allocates the buffer that the host fills with arguments. */
WPC_SHARED_ __attribute__((export_name("wpc_buffer_v1"))) uint8_t *wpc_buffer_v1(size_t len)
{
    free(wpc_buffer_);
    wpc_buffer_ = (uint8_t *)malloc(len);
    if (wpc_buffer_ == NULL) wpc_panic("out of memory");
    return wpc_buffer_;
}

#else

/* The heap is the host's buffer, then the memory of the call. No data outlives a call, so the buffer
 * may overwrite it between calls, and the memory is as large as the largest call needs. */
extern uint8_t __heap_base;
WPC_SHARED_ uint64_t wpc_buffer_end_;
WPC_SHARED_ uint64_t wpc_heap_end_;

#define WPC_ALIGN_(address) (((uint64_t)(address) + 15) & ~(uint64_t)15)

/* Frees the memory of the previous call. */
WPC_API_ void wpc_reset_(void)
{
    wpc_heap_end_ = wpc_buffer_end_;
}

/* Grows the memory to `end`. */
WPC_API_ void wpc_reach_(uint64_t end)
{
    uint64_t pages = (end + 65535) >> 16;
    uint64_t now = __builtin_wasm_memory_size(0);
    if (pages <= now) return;
    if (pages > 65536 || __builtin_wasm_memory_grow(0, (size_t)(pages - now)) == SIZE_MAX) {
        wpc_panic("out of memory");
    }
}

/* Compilers call these functions even without libc. They are weak, so that those of a libc replace
 * them. They process eight bytes at a time, because WebAssembly allows unaligned access. */
typedef struct __attribute__((packed, may_alias)) wpc_word_ {
    uint64_t bits;
} wpc_word_;

WPC_SHARED_ __attribute__((no_builtin)) void *memcpy(void *to, const void *from, size_t len)
{
    uint8_t *out = (uint8_t *)to;
    const uint8_t *in = (const uint8_t *)from;
    for (; len >= 8; len -= 8, out += 8, in += 8) *(wpc_word_ *)out = *(const wpc_word_ *)in;
    while (len-- > 0) *out++ = *in++;
    return to;
}

WPC_SHARED_ __attribute__((no_builtin)) void *memmove(void *to, const void *from, size_t len)
{
    uint8_t *out = (uint8_t *)to;
    const uint8_t *in = (const uint8_t *)from;
    if (out <= in || out >= in + len) {
        for (; len > 0; len--) *out++ = *in++;
    } else {
        while (len-- > 0) out[len] = in[len];
    }
    return to;
}

WPC_SHARED_ __attribute__((no_builtin)) void *memset(void *at, int value, size_t len)
{
    uint8_t *out = (uint8_t *)at;
    wpc_word_ word = {0x0101010101010101u * (uint8_t)value};
    for (; len >= 8; len -= 8, out += 8) *(wpc_word_ *)out = word;
    while (len-- > 0) *out++ = (uint8_t)value;
    return at;
}

WPC_SHARED_ __attribute__((no_builtin)) int memcmp(const void *a, const void *b, size_t len)
{
    const uint8_t *left = (const uint8_t *)a;
    const uint8_t *right = (const uint8_t *)b;
    for (; len > 0; len--, left++, right++) {
        if (*left != *right) return *left - *right;
    }
    return 0;
}

/* Resizes `at`, which is from `wpc_alloc` or NULL. It may move; its first `old` bytes are kept. */
WPC_LARGE_ void *wpc_resize_(void *at, size_t old, size_t size)
{
    uint64_t begin = wpc_heap_end_;
    /* The last allocation grows in place. */
    bool is_last = at != NULL && WPC_ALIGN_((uintptr_t)at + (uint64_t)old) == wpc_heap_end_;
    if (wpc_heap_end_ == 0) begin = WPC_ALIGN_((uintptr_t)&__heap_base);
    if (is_last) begin = (uintptr_t)at;
    wpc_heap_end_ = WPC_ALIGN_(begin + size);
    wpc_reach_(wpc_heap_end_);
    if (at != NULL && !is_last) memcpy((void *)(uintptr_t)begin, at, old);
    return (void *)(uintptr_t)begin;
}

/* Frees the last allocation of the call. */
WPC_API_ void wpc_free_last_(void *at)
{
    wpc_heap_end_ = (uintptr_t)at;
}

/* Allocates the buffer that the host fills with arguments. */
WPC_SHARED_ __attribute__((export_name("wpc_buffer_v1"))) uint8_t *wpc_buffer_v1(size_t len)
{
    uint64_t begin = WPC_ALIGN_((uintptr_t)&__heap_base);
    wpc_buffer_end_ = WPC_ALIGN_(begin + len);
    wpc_reach_(wpc_buffer_end_);
    wpc_reset_();
    return (uint8_t *)(uintptr_t)begin;
}

#endif /* WPC_LIBC */

/* Allocates memory for this call, aligned to 16 bytes and not initialized. Never returns NULL: the
 * sandbox ends if the memory is exhausted. */
WPC_API_ void *wpc_alloc(size_t size)
{
    return wpc_resize_(NULL, 0, size);
}

/* Concatenates texts; see `WPC_CONCAT`. */
WPC_LARGE_ wpc_text wpc_concat(const wpc_text *texts, size_t count)
{
    uint64_t len = 0;
    size_t done = 0, at;
    char *all;
    for (at = 0; at < count; at++) len += texts[at].len;
    if (len > SIZE_MAX) wpc_panic("out of memory");
    all = (char *)wpc_alloc((size_t)len);
    for (at = 0; at < count; at++) {
        __builtin_memcpy(all + done, texts[at].at, texts[at].len);
        done += texts[at].len;
    }
    return (wpc_text){all, (size_t)len};
}

/* Concatenates the given texts: `WPC_CONCAT(first, wpc_str(", "), second)`. */
#define WPC_CONCAT(...) \
    wpc_concat((const wpc_text[]){__VA_ARGS__}, sizeof((const wpc_text[]){__VA_ARGS__}) / sizeof(wpc_text))

/* ---- Writing ----------------------------------------------------------------------------- */

/* Makes sure that `more` bytes can be written without moving the buffer. */
WPC_LARGE_ void wpc_reserve_(wpc_writer *out, uint64_t more)
{
    /* The first allocation is exact; later ones double, to limit the number of copies. */
    uint64_t capacity = (uint64_t)out->capacity * 2;
    if (out->len + more <= out->capacity) return;
    if (capacity < out->len + more) capacity = out->len + more;
    if (capacity > SIZE_MAX) wpc_panic("out of memory");
    out->at = (uint8_t *)wpc_resize_(out->at, out->capacity, (size_t)capacity);
    out->capacity = (size_t)capacity;
}

/* Appends `len` bytes for the caller to fill. */
WPC_API_ uint8_t *wpc_write_reserve(wpc_writer *out, size_t len)
{
    wpc_reserve_(out, len);
    out->len += len;
    return out->at + out->len - len;
}

/* One byte: a `u8`, or an `i8`. */
WPC_API_ void wpc_write_u8(wpc_writer *out, uint8_t value)
{
    *wpc_write_reserve(out, 1) = value;
}

/* A `bool`. */
WPC_API_ void wpc_write_bool(wpc_writer *out, bool value)
{
    wpc_write_u8(out, value);
}

/* An unsigned integer: `u16`, `u32` and `u64` are encoded alike, and so is the number of an enum's
 * variant. */
WPC_LARGE_ void wpc_write_u64(wpc_writer *out, uint64_t value)
{
    for (; value >= 128; value >>= 7) wpc_write_u8(out, (uint8_t)(value | 128));
    wpc_write_u8(out, (uint8_t)value);
}

/* A signed integer: `i16`, `i32` and `i64` are encoded alike. */
WPC_API_ void wpc_write_i64(wpc_writer *out, int64_t value)
{
    wpc_write_u64(out, ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0));
}

/* An `f32`. */
WPC_API_ void wpc_write_f32(wpc_writer *out, float value)
{
    __builtin_memcpy(wpc_write_reserve(out, sizeof value), &value, sizeof value);
}

/* An `f64`. */
WPC_API_ void wpc_write_f64(wpc_writer *out, double value)
{
    __builtin_memcpy(wpc_write_reserve(out, sizeof value), &value, sizeof value);
}

/* The number of items of a sequence. */
WPC_API_ void wpc_write_count(wpc_writer *out, size_t count)
{
    wpc_write_u64(out, count);
}

/* The flag of an optional value. If it is true, the value follows. */
WPC_API_ void wpc_write_option(wpc_writer *out, bool is_there)
{
    wpc_write_bool(out, is_there);
}

/* Bytes for the caller to fill: writes their count and appends them. */
WPC_LARGE_ uint8_t *wpc_write_bytes_reserve(wpc_writer *out, size_t len)
{
    wpc_reserve_(out, (uint64_t)len + 5); /* A count has at most five bytes. */
    wpc_write_count(out, len);
    return wpc_write_reserve(out, len);
}

/* Bytes: a `Vec<u8>`. */
WPC_LARGE_ void wpc_write_bytes(wpc_writer *out, wpc_bytes bytes)
{
    __builtin_memcpy(wpc_write_bytes_reserve(out, bytes.len), bytes.at, bytes.len);
}

/* Text: a `String`. */
WPC_API_ void wpc_write_text(wpc_writer *out, wpc_text text)
{
    wpc_write_bytes(out, (wpc_bytes){(const uint8_t *)text.at, text.len});
}

/* ---- Items ------------------------------------------------------------------------------- */

/* Yields the written value as an item to the caller of a stream, before the function's result. It
 * returns when the caller has capacity for the item. The writer is empty then and keeps its memory for
 * the next item. The function declares the type of its items: `"(text: String) -> u32 yields String"`. */
WPC_API_ void wpc_yield(wpc_writer *item)
{
    wpc_host_yield_(item->at, item->len);
    item->len = 0;
}

/* Yields an item of bytes. Its memory is freed at once. */
WPC_LARGE_ void wpc_yield_bytes(wpc_bytes bytes)
{
    wpc_writer item = {NULL, 0, 0};
    wpc_write_bytes(&item, bytes);
    wpc_yield(&item);
    wpc_free_last_(item.at);
}

/* Yields an item of text. Its memory is freed at once. */
WPC_API_ void wpc_yield_text(wpc_text text)
{
    wpc_yield_bytes((wpc_bytes){(const uint8_t *)text.at, text.len});
}

/* ---- Replies ----------------------------------------------------------------------------- */

/* Begins a reply with a value: `wpc_writer out = wpc_value();`, then write it, then
 * `return wpc_finish(&out);`. */
WPC_API_ wpc_writer wpc_value(void)
{
    wpc_writer out = {NULL, 0, 0};
    /* Enough for a number, or for the kind of a longer reply. */
    out.at = (uint8_t *)wpc_alloc(16);
    out.capacity = 16;
    wpc_write_u8(&out, 0);
    return out;
}

/* Returns the written reply. */
WPC_API_ wpc_reply wpc_finish(const wpc_writer *out)
{
    return (uint64_t)(uintptr_t)out->at << 32 | out->len;
}

/* The reply of a function that returns nothing: `()`. */
WPC_API_ wpc_reply wpc_reply_nothing(void)
{
    wpc_writer out = wpc_value();
    return wpc_finish(&out);
}

/* A reply of one text. */
WPC_API_ wpc_reply wpc_reply_text(wpc_text text)
{
    wpc_writer out = wpc_value();
    wpc_write_text(&out, text);
    return wpc_finish(&out);
}

/* A reply of bytes. */
WPC_API_ wpc_reply wpc_reply_bytes(wpc_bytes bytes)
{
    wpc_writer out = wpc_value();
    wpc_write_bytes(&out, bytes);
    return wpc_finish(&out);
}

/* A reply of one `bool`. */
WPC_API_ wpc_reply wpc_reply_bool(bool value)
{
    wpc_writer out = wpc_value();
    wpc_write_bool(&out, value);
    return wpc_finish(&out);
}

/* A reply of one `u16`, `u32` or `u64`. */
WPC_API_ wpc_reply wpc_reply_u64(uint64_t value)
{
    wpc_writer out = wpc_value();
    wpc_write_u64(&out, value);
    return wpc_finish(&out);
}

/* A reply of one `i16`, `i32` or `i64`. */
WPC_API_ wpc_reply wpc_reply_i64(int64_t value)
{
    wpc_writer out = wpc_value();
    wpc_write_i64(&out, value);
    return wpc_finish(&out);
}

/* A reply of one `f64`. */
WPC_API_ wpc_reply wpc_reply_f64(double value)
{
    wpc_writer out = wpc_value();
    wpc_write_f64(&out, value);
    return wpc_finish(&out);
}

/* A guest error with a message that is created at run time. */
WPC_LARGE_ wpc_reply wpc_error_text(const char *name, wpc_text message)
{
    wpc_writer out = {NULL, 0, 0};
    wpc_write_u8(&out, 1);
    wpc_write_text(&out, wpc_str(name));
    wpc_write_text(&out, message);
    wpc_write_text(&out, wpc_str("")); /* The stack. */
    return wpc_finish(&out);
}

/* A guest error: the call fails, the sandbox goes on. `name` is for programs, `message` for people. */
WPC_API_ wpc_reply wpc_error(const char *name, const char *message)
{
    return wpc_error_text(name, wpc_str(message));
}

/* ---- Reading ----------------------------------------------------------------------------- */

/* Makes the reader fail, unless it has failed before. Use it for values that decode but are invalid. */
WPC_LARGE_ void wpc_refuse(wpc_reader *in, const char *why)
{
    if (in->failure != 0) return;
    in->at = in->end;
    if (in->what == NULL) {
        wpc_writer out = {NULL, 0, 0};
        wpc_write_u8(&out, 2);
        wpc_write_text(&out, wpc_str(why));
        in->failure = wpc_finish(&out);
    } else {
        in->failure = wpc_error_text("DecodeError", WPC_CONCAT(wpc_str(in->what), wpc_str(": "), wpc_str(why)));
    }
}

/* Returns whether all bytes were read and nothing failed; trailing bytes are a failure. */
WPC_API_ bool wpc_end(wpc_reader *in)
{
    if (in->at != in->end) wpc_refuse(in, "trailing bytes after the last value");
    return in->failure == 0;
}

/* The reply that reports the failure, after `wpc_end` returned false: arguments that do not decode, a
 * missing constant, the error of a dependency. */
WPC_API_ wpc_reply wpc_failure(const wpc_reader *in)
{
    return in->failure;
}

/* The next `len` bytes, not decoded; NULL, and a failure, if there are fewer. */
WPC_API_ const uint8_t *wpc_read_raw(wpc_reader *in, uint64_t len)
{
    const uint8_t *at = in->at;
    if (len > (uint64_t)(in->end - in->at)) {
        wpc_refuse(in, "the bytes end too early");
        return NULL;
    }
    in->at += len;
    return at;
}

/* One byte: a `u8`, or an `i8`. */
WPC_API_ uint8_t wpc_read_u8(wpc_reader *in)
{
    const uint8_t *at = wpc_read_raw(in, 1);
    return at == NULL ? 0 : *at;
}

/* A `bool`. */
WPC_API_ bool wpc_read_bool(wpc_reader *in)
{
    uint8_t byte = wpc_read_u8(in);
    if (byte > 1) wpc_refuse(in, "a bool is neither 0 nor 1");
    return byte == 1;
}

/* A `u64`. */
WPC_LARGE_ uint64_t wpc_read_u64(wpc_reader *in)
{
    uint64_t value = 0;
    int shift;
    for (shift = 0; shift < 64; shift += 7) {
        uint8_t byte = wpc_read_u8(in);
        if (shift == 63 && byte > 1) break;
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) return in->failure == 0 ? value : 0;
    }
    wpc_refuse(in, "a number is too large");
    return 0;
}

/* A number of at most `most`. */
WPC_API_ uint64_t wpc_read_at_most_(wpc_reader *in, uint64_t most)
{
    uint64_t value = wpc_read_u64(in);
    if (value <= most) return value;
    wpc_refuse(in, "a number is too large");
    return 0;
}

/* A `u32`, or the number of an enum's variant. */
WPC_API_ uint32_t wpc_read_u32(wpc_reader *in)
{
    return (uint32_t)wpc_read_at_most_(in, UINT32_MAX);
}

/* A `u16`. */
WPC_API_ uint16_t wpc_read_u16(wpc_reader *in)
{
    return (uint16_t)wpc_read_at_most_(in, UINT16_MAX);
}

/* Decodes a zigzag number: 0, -1, 1, -2, 2, ... */
WPC_API_ int64_t wpc_signed_(uint64_t value)
{
    return (int64_t)(value >> 1 ^ (value & 1 ? UINT64_MAX : 0));
}

/* An `i64`. */
WPC_API_ int64_t wpc_read_i64(wpc_reader *in)
{
    return wpc_signed_(wpc_read_u64(in));
}

/* An `i32`. */
WPC_API_ int32_t wpc_read_i32(wpc_reader *in)
{
    return (int32_t)wpc_signed_(wpc_read_at_most_(in, UINT32_MAX));
}

/* An `i16`. */
WPC_API_ int16_t wpc_read_i16(wpc_reader *in)
{
    return (int16_t)wpc_signed_(wpc_read_at_most_(in, UINT16_MAX));
}

/* An `f32`. */
WPC_API_ float wpc_read_f32(wpc_reader *in)
{
    float value = 0;
    const uint8_t *at = wpc_read_raw(in, sizeof value);
    if (at != NULL) __builtin_memcpy(&value, at, sizeof value);
    return value;
}

/* An `f64`. */
WPC_API_ double wpc_read_f64(wpc_reader *in)
{
    double value = 0;
    const uint8_t *at = wpc_read_raw(in, sizeof value);
    if (at != NULL) __builtin_memcpy(&value, at, sizeof value);
    return value;
}

/* The number of items of a sequence. It is not trusted, because an item may take no bytes: do not
 * allocate memory for as many items, and stop if `in->failure` is not zero. */
WPC_API_ size_t wpc_read_count(wpc_reader *in)
{
    return wpc_read_u32(in);
}

/* The flag of an optional value. If it is true, the value follows. */
WPC_API_ bool wpc_read_option(wpc_reader *in)
{
    return wpc_read_bool(in);
}

/* Bytes: a `Vec<u8>`. They are not copied; a function may modify those of its arguments. */
WPC_API_ wpc_bytes wpc_read_bytes(wpc_reader *in)
{
    size_t len = wpc_read_count(in);
    const uint8_t *at = wpc_read_raw(in, len);
    if (at == NULL) return (wpc_bytes){(const uint8_t *)"", 0};
    return (wpc_bytes){at, len};
}

/* The length of the character at `at` in bytes; 0 if it is not UTF-8. */
WPC_LARGE_ size_t wpc_utf8_len_(const uint8_t *at, size_t left)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = at[0] < 0x80 ? 1 : at[0] < 0xc0 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf8 ? 4 : 0;
    uint32_t character = len < 2 ? 0 : at[0] & (0x7fu >> len);
    size_t next;
    if (len < 2) return len;
    if (len > left) return 0;
    for (next = 1; next < len; next++) {
        if ((at[next] & 0xc0) != 0x80) return 0;
        character = character << 6 | (at[next] & 0x3fu);
    }
    /* An overlong encoding, a number beyond Unicode, or a surrogate. */
    if (character < least[len] || character > 0x10ffff || character >> 11 == 0x1b) return 0;
    return len;
}

/* Text: a `String`. It is not copied. */
WPC_LARGE_ wpc_text wpc_read_text(wpc_reader *in)
{
    wpc_bytes bytes = wpc_read_bytes(in);
    size_t at = 0, len;
    for (; at < bytes.len; at += len) {
        len = wpc_utf8_len_(bytes.at + at, bytes.len - at);
        if (len == 0) {
            wpc_refuse(in, "a string is not UTF-8");
            return wpc_str("");
        }
    }
    return (wpc_text){(const char *)bytes.at, bytes.len};
}

/* ---- Constants and dependencies ---------------------------------------------------------- */

/* The initial capacity for an answer. Most fit; a larger one needs a second call of the host. */
#define WPC_FIRST_CAPACITY_ 512

/* Reads a constant, whose value is decoded like arguments. If the host does not define it, the
 * reader's failure is the guest error `ConstantNotDefined`. */
WPC_LARGE_ wpc_reader wpc_constant(const char *name)
{
    size_t capacity = WPC_FIRST_CAPACITY_;
    uint8_t *at = (uint8_t *)wpc_alloc(capacity);
    /* With the terminating zero of a C string. */
    wpc_text what = WPC_CONCAT(wpc_str("constant `"), wpc_str(name), (wpc_text){"`", 2});
    wpc_reader value = {at, at, what.at, 0};
    int64_t len = wpc_host_constant_(name, wpc_str(name).len, at, capacity);
    if (len > (int64_t)capacity) {
        capacity = (size_t)len;
        at = (uint8_t *)wpc_alloc(capacity);
        len = wpc_host_constant_(name, wpc_str(name).len, at, capacity);
    }
    if (len < 0) {
        value.failure = wpc_error_text(
            "ConstantNotDefined", WPC_CONCAT(wpc_str(value.what), wpc_str(" is not defined")));
        return value;
    }
    value.at = at;
    value.end = at + len;
    return value;
}

/* A reader of a dependency's reply, of which the host returned the length. */
WPC_LARGE_ wpc_reader wpc_answer_(const char *what, uint8_t *at, size_t capacity, int64_t len)
{
    wpc_reader reply = {at, at, what, 0};
    uint8_t kind;
    if (len > (int64_t)capacity) {
        at = (uint8_t *)wpc_alloc((size_t)len);
        wpc_host_take_(at, (size_t)len);
    }
    reply.at = at;
    reply.end = at + len;
    kind = wpc_read_u8(&reply);
    if (kind == 1) {
        /* The error is returned unchanged. */
        reply.at = reply.end;
        reply.failure = (uint64_t)(uintptr_t)at << 32 | (uint64_t)len;
    } else if (kind == 2) {
        /* This function, not its caller, passed wrong arguments. */
        wpc_text why = wpc_read_text(&reply);
        if (wpc_end(&reply)) {
            reply.failure = wpc_error_text("BadArguments", WPC_CONCAT(wpc_str(what), wpc_str(": "), why));
        }
    } else if (kind != 0) {
        wpc_refuse(&reply, "the reply has an unknown kind");
    }
    return reply;
}

#define WPC_CALLABLE_(module, text, c_name, function)                                              \
    __attribute__((import_module(module), import_name(#function))) int64_t wpc_import_##c_name(    \
        const uint8_t *, size_t, uint8_t *, size_t);                                               \
    WPC_API_ wpc_reader c_name(const wpc_writer *arguments)                                        \
    {                                                                                              \
        uint8_t *buffer = (uint8_t *)wpc_alloc(WPC_FIRST_CAPACITY_);                               \
        int64_t len =                                                                              \
            wpc_import_##c_name(arguments->at, arguments->len, buffer, WPC_FIRST_CAPACITY_);       \
        return wpc_answer_("function `" text "`", buffer, WPC_FIRST_CAPACITY_, len);               \
    }

/* Declares a function of a dependency: `WPC_IMPORT(path_dep, basename)` makes
 * `wpc_reader path_dep_basename(const wpc_writer *arguments)`. The result is decoded like
 * arguments; its failure is the dependency's error, which `wpc_failure` returns. */
#define WPC_IMPORT(alias, function) \
    WPC_CALLABLE_("wpc:" #alias, #alias "::" #function, alias##_##function, function)

/* Declares a function of the embedder that the definition was granted: `WPC_HOST_IMPORT(lookup)`
 * makes `wpc_reader wpc_host_lookup(const wpc_writer *arguments)`. */
#define WPC_HOST_IMPORT(function) WPC_CALLABLE_("wpc-host", #function, wpc_host_##function, function)

/* ---- Functions --------------------------------------------------------------------------- */

/* Defines a function that the host can call. Its body reads the arguments from `wpc_reader *args` and
 * returns a reply. If the arguments did not decode completely, the caller gets that failure instead of
 * the reply; a function with side effects should check `wpc_end(args)` first. */
#define WPC_FUNCTION(name)                                                                         \
    static wpc_reply wpc_function_##name(wpc_reader *args);                                        \
    __attribute__((export_name(#name))) wpc_reply wpc_export_##name(const uint8_t *, size_t);      \
    wpc_reply wpc_export_##name(const uint8_t *at, size_t len)                                     \
    {                                                                                              \
        wpc_reader args = {at, at + len, NULL, 0};                                                 \
        wpc_reply reply;                                                                           \
        wpc_reset_();                                                                              \
        reply = wpc_function_##name(&args);                                                        \
        return wpc_end(&args) ? reply : wpc_failure(&args);                                        \
    }                                                                                              \
    static wpc_reply wpc_function_##name(wpc_reader *args __attribute__((unused)))

/* Defines the init hook, which runs once before a sandbox's first call: `WPC_INIT { ... return
 * wpc_reply_nothing(); }`. If it returns an error, the sandbox is not created and the caller gets it. */
#define WPC_INIT                                                                                   \
    static wpc_reply wpc_init_(void);                                                              \
    __attribute__((export_name("wpc_init"))) wpc_reply wpc_export_init_(void);                     \
    wpc_reply wpc_export_init_(void)                                                               \
    {                                                                                              \
        wpc_reset_();                                                                              \
        return wpc_init_();                                                                        \
    }                                                                                              \
    static wpc_reply wpc_init_(void)

#endif /* WPC_H */
