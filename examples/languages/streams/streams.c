/* Two functions in C that yield items. */
#ifdef __wasi__
#define WPC_LIBC
#endif
#include "wpc.h"

/* Yields the words of a text, which spaces separate, and returns their number. */
WPC_FUNCTION(words)
{
    wpc_text text = wpc_read_text(args);
    if (!wpc_end(args)) return wpc_failure(args);

    uint32_t count = 0;
    for (size_t at = 0, end; at < text.len; at = end + 1) {
        for (end = at; end < text.len && text.at[end] != ' ';) end++;
        if (end == at) continue;
        wpc_yield_text((wpc_text){text.at + at, end - at});
        count++;
    }
    return wpc_reply_u64(count);
}

/* Yields the numbers below `end`. */
WPC_FUNCTION(numbers)
{
    uint64_t end = wpc_read_u64(args);
    if (!wpc_end(args)) return wpc_failure(args);

    wpc_writer item = {0};
    for (uint64_t number = 0; number < end; number++) {
        wpc_write_u64(&item, number);
        wpc_yield(&item);
    }
    return wpc_reply_nothing();
}
