#include "wpc.h"

/* Returns a greeting. */
WPC_FUNCTION(greet)
{
    wpc_text name = wpc_read_text(args);
    if (!wpc_end(args)) return wpc_failure(args);
    if (name.len == 0) return wpc_error("EmptyName", "the name is empty");

    return wpc_reply_text(WPC_CONCAT(wpc_str("Hello, "), name, wpc_str("!")));
}
