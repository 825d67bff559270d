// MicroPython's output goes to `mp_hal_stdout_tx_strn_cooked` in python.c.
#pragma once

static inline void mp_hal_set_interrupt_char(char c) {
    (void)c;
}
