/* Three functions in C with libc, which provides streams and the heap. */
#include <stdio.h>

#define WPC_LIBC
#include "../c/wpc.h"

WPC_IMPORT(path_dep, basename)

/* Returns the constant GREETING and the name: "Hello, Ada!". */
WPC_FUNCTION(greet)
{
    wpc_text name = wpc_read_text(args);
    if (!wpc_end(args)) return wpc_failure(args);
    if (name.len == 0) return wpc_error("EmptyName", "the name is empty");

    wpc_reader constant = wpc_constant("GREETING");
    wpc_text greeting = wpc_read_text(&constant);
    if (!wpc_end(&constant)) return wpc_failure(&constant);

    char *line;
    size_t len;
    FILE *out = open_memstream(&line, &len);
    if (out == NULL) wpc_panic("out of memory");
    fwrite(greeting.at, 1, greeting.len, out);
    fputs(", ", out);
    fwrite(name.at, 1, name.len, out);
    fputs("!", out);
    if (fclose(out) != 0) wpc_panic("out of memory");

    wpc_reply reply = wpc_reply_text((wpc_text){line, len}); /* Copies the line. */
    free(line);
    return reply;
}

/* Returns the bytes in reverse order. */
WPC_FUNCTION(reverse)
{
    wpc_bytes bytes = wpc_read_bytes(args);
    if (!wpc_end(args)) return wpc_failure(args);

    wpc_writer out = wpc_value();
    uint8_t *to = wpc_write_bytes_reserve(&out, bytes.len);
    for (size_t at = 0; at < bytes.len; at++) to[at] = bytes.at[bytes.len - 1 - at];
    return wpc_finish(&out);
}

/* Returns the dependency's name of the file: "file: todo.txt". */
WPC_FUNCTION(title)
{
    wpc_text path = wpc_read_text(args);
    if (!wpc_end(args)) return wpc_failure(args);

    wpc_writer arguments = {0};
    wpc_write_text(&arguments, path);
    wpc_reader reply = path_dep_basename(&arguments);
    wpc_text basename = wpc_read_text(&reply);
    if (!wpc_end(&reply)) return wpc_failure(&reply);

    return wpc_reply_text(WPC_CONCAT(wpc_str("file: "), basename));
}
