// `setjmp` by exceptions: `-mllvm -wasm-enable-sjlj` compiles calls of it to the functions in setjmp.c. Later versions of
// wasi-libc have the same in `libsetjmp`.
#pragma once

typedef struct {
    void *of_call;
    unsigned label;
    struct {
        void *buffer;
        int value;
    } argument;
} jmp_buf[1];

int setjmp(jmp_buf) __attribute__((returns_twice));
_Noreturn void longjmp(jmp_buf, int);
