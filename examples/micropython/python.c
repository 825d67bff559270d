// Python as two functions: each call starts a new interpreter, which ends with the call.
#include <string.h>

#define WPC_LIBC
#include "wpc.h"

#include "py/compile.h"
#include "py/cstack.h"
#include "py/gc.h"
#include "py/mperrno.h"
#include "py/mphal.h"
#include "py/runtime.h"

// What the source has printed.
static wpc_writer output;

void mp_hal_stdout_tx_strn_cooked(const char *text, size_t len) {
    memcpy(wpc_write_reserve(&output, len), text, len);
}

static void append(void *writer, const char *text, size_t len) {
    memcpy(wpc_write_reserve(writer, len), text, len);
}

static wpc_text written(const wpc_writer *writer) {
    return (wpc_text){(const char *)writer->at, writer->len};
}

// A guest error with the exception's type, its message, and its traceback as the stack.
static wpc_reply failure(mp_obj_t exception) {
    wpc_writer message = {0}, traceback = {0}, reply = {0};
    mp_print_t to_message = {&message, append}, to_traceback = {&traceback, append};
    mp_obj_print_helper(&to_message, exception, PRINT_STR);
    mp_obj_print_exception(&to_traceback, exception);
    wpc_write_u8(&reply, 1);
    wpc_write_text(&reply, wpc_str(mp_obj_get_type_str(exception)));
    wpc_write_text(&reply, written(&message));
    wpc_write_text(&reply, written(&traceback));
    return wpc_finish(&reply);
}

// Executes the source. With `MP_PARSE_EVAL_INPUT` it is an expression, whose value is the output.
static wpc_reply execute(wpc_text source, mp_parse_input_kind_t kind) {
    wpc_reply reply;
    nlr_buf_t handler;
    if (nlr_push(&handler) == 0) {
        mp_lexer_t *lexer = mp_lexer_new_from_str_len(MP_QSTR__lt_string_gt_, source.at, source.len, 0);
        mp_parse_tree_t tree = mp_parse(lexer, kind);
        mp_obj_t value = mp_call_function_0(mp_compile(&tree, MP_QSTR__lt_string_gt_, false));
        if (kind == MP_PARSE_EVAL_INPUT) mp_obj_print(value, PRINT_REPR);
        nlr_pop();
        reply = wpc_reply_text(written(&output));
    } else {
        reply = failure(MP_OBJ_FROM_PTR(handler.ret_val));
    }
    return reply;
}

// The first part of the heap; further parts are allocated when it is full.
#define HEAP_SIZE (64 * 1024)

static wpc_reply interpret(wpc_reader *args, mp_parse_input_kind_t kind) {
    wpc_text source = wpc_read_text(args);
    if (!wpc_end(args)) return wpc_failure(args);

    void *top;
    // The stack starts at the address 0 and grows towards it.
    mp_cstack_init_with_top(&top, (size_t)&top);
    char *heap = wpc_alloc(HEAP_SIZE);
    output = (wpc_writer){0};
    gc_init(heap, heap + HEAP_SIZE);
    mp_init();
    wpc_reply reply = execute(source, kind);
    mp_deinit();
    gc_sweep_all(); // Frees the further parts of the heap.
    return reply;
}

// Declares `run(source: String) -> String` and `eval(expression: String) -> String`, as `wpc build` does for a project of one
// file. Section 5 of docs/abi.md describes the encoding.
#define STRING "\\1\\6String\\20"
__asm__(".section .custom_section.wpc,\"\",@\n"
        ".ascii \"\\1\\36\\3run\\1\\6source" STRING STRING "\"\n"
        ".ascii \"\\1\\43\\4eval\\1\\12expression" STRING STRING "\"\n");

// Executes statements and returns what they print.
WPC_FUNCTION(run) {
    return interpret(args, MP_PARSE_FILE_INPUT);
}

// Returns the value of an expression as `repr` shows it.
WPC_FUNCTION(eval) {
    return interpret(args, MP_PARSE_EVAL_INPUT);
}

// `wasm-opt --spill-pointers` has stored the pointers of every caller on the stack, where this function finds them.
__attribute__((noinline)) void gc_collect(void) {
    void *top;
    gc_collect_start();
    gc_collect_root(&top, ((char *)MP_STATE_THREAD(stack_top) - (char *)&top) / sizeof(void *));
    gc_collect_end();
}

// How much a further part of the heap may have. `malloc` returns NULL at the guest's memory limit.
size_t gc_get_max_new_split(void) {
    return SIZE_MAX / 4;
}

// There are no files.
static mp_obj_t no_file(size_t count, const mp_obj_t *arguments) {
    (void)count;
    mp_raise_OSError_with_filename(MP_ENOENT, mp_obj_str_get_str(arguments[0]));
}
MP_DEFINE_CONST_FUN_OBJ_VAR(mp_builtin_open_obj, 1, no_file);

void nlr_jump_fail(void *exception) {
    (void)exception;
    wpc_panic("an exception was raised outside of every handler");
}
