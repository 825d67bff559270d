// The configuration of MicroPython: the language with a small library, and no access to files, clocks or input.
#include <alloca.h>
#include <stdint.h>
#include <stdlib.h>

#define MICROPY_CONFIG_ROM_LEVEL (MICROPY_CONFIG_ROM_LEVEL_CORE_FEATURES)

#define MICROPY_ENABLE_COMPILER (1)
#define MICROPY_NLR_SETJMP (1)
#define MICROPY_LONGINT_IMPL (MICROPY_LONGINT_IMPL_MPZ)
#define MICROPY_FLOAT_IMPL (MICROPY_FLOAT_IMPL_DOUBLE)
#define MICROPY_ERROR_REPORTING (MICROPY_ERROR_REPORTING_DETAILED)
#define MICROPY_ENABLE_SOURCE_LINE (1)
#define MICROPY_CPYTHON_COMPAT (1)
#define MICROPY_PY_BUILTINS_STR_UNICODE (1)
#define MICROPY_PY_MATH (1)
#define MICROPY_PY_COLLECTIONS (1)
#define MICROPY_PY_JSON (1)
#define MICROPY_PY_SYS (0)
#define MICROPY_PY_IO (1)
#define MICROPY_ENABLE_EXTERNAL_IMPORT (0)
#define MICROPY_KBD_EXCEPTION (0)
#define MICROPY_USE_INTERNAL_ERRNO (1)

// The heap grows until the guest's memory limit.
#define MICROPY_ENABLE_GC (1)
#define MICROPY_GC_SPLIT_HEAP (1)
#define MICROPY_GC_SPLIT_HEAP_AUTO (1)

// Deep recursion raises `RuntimeError` before the stack overflows.
#define MICROPY_STACK_CHECK (1)
#define MICROPY_STACK_CHECK_MARGIN (4096)

typedef long mp_off_t;
