(module
  (memory (export "memory") 1)

  ;; Declares `greet(name: String) -> String`, so that `wpc call` can pass JSON.
  (@custom "wpc" "\01\1e" "\05greet" "\01" "\04name" "\01\06String\10" "\01\06String\10")
  ;; Its documentation, which `wpc inspect` shows.
  (@custom "wpc.docs" "\01\1a" "\05greet" "\13Returns a greeting.")

  ;; Two complete replies. 32 bytes: status 2 and a decoding error. 30 bytes: status 1 and an error's name, its
  ;; message and an empty stack. Then the beginning of a successful reply's text.
  (data (i32.const 0) "\02\1ethe arguments are not a string")
  (data (i32.const 32) "\01\09EmptyName\11the name is empty\00")
  (data (i32.const 80) "Hello, ")

  ;; The host writes the arguments at 1024. The reply is written after them.
  (global $reply (mut i32) (i32.const 0))
  (func (export "wpc_buffer_v1") (param $len i32) (result i32)
    (global.set $reply (i32.add (i32.const 1024) (local.get $len)))
    ;; Grows by twice the length, plus one page of 64 KiB. If that fails, the host detects that the buffer is out of
    ;; bounds.
    (drop (memory.grow (i32.add (i32.shr_u (local.get $len) (i32.const 15)) (i32.const 1))))
    (i32.const 1024))

  ;; Returns a greeting.
  (func (export "greet") (param $at i32) (param $len i32) (result i64)
    (local $end i32) (local $shift i32) (local $count i32) (local $to i32)
    (local.set $end (i32.add (local.get $at) (local.get $len)))

    ;; Decodes the length of the name, a varint: seven bits per byte, low bits first, the top bit set on all but the
    ;; last byte.
    (loop $more
      (if (i32.or (i32.eq (local.get $at) (local.get $end)) (i32.gt_u (local.get $shift) (i32.const 28)))
        (then (return (i64.const 32)))) ;; the reply at 0
      (local.set $count (i32.or (local.get $count) (i32.shl
        (i32.and (i32.load8_u (local.get $at)) (i32.const 127)) (local.get $shift))))
      (local.set $shift (i32.add (local.get $shift) (i32.const 7)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $more (i32.ge_u (i32.load8_u (i32.sub (local.get $at) (i32.const 1))) (i32.const 128))))
    ;; The remaining bytes are the name.
    (local.set $len (i32.sub (local.get $end) (local.get $at)))
    (if (i32.ne (local.get $count) (local.get $len)) (then (return (i64.const 32))))
    (if (i32.eqz (local.get $len)) (then (return (i64.const 0x20_0000001e)))) ;; the reply at 32

    ;; Writes status 0, the length of the text, and the text.
    (local.set $to (global.get $reply))
    (i32.store8 (local.get $to) (i32.const 0))
    (local.set $to (i32.add (local.get $to) (i32.const 1)))
    (local.set $count (i32.add (local.get $len) (i32.const 8)))
    (loop $more
      (i32.store8 (local.get $to) (i32.or (local.get $count)
        (i32.shl (i32.gt_u (local.get $count) (i32.const 127)) (i32.const 7))))
      (local.set $to (i32.add (local.get $to) (i32.const 1)))
      (local.set $count (i32.shr_u (local.get $count) (i32.const 7)))
      (br_if $more (local.get $count)))
    (memory.copy (local.get $to) (i32.const 80) (i32.const 7))
    (local.set $to (i32.add (local.get $to) (i32.const 7)))
    (memory.copy (local.get $to) (local.get $at) (local.get $len))
    (local.set $to (i32.add (local.get $to) (local.get $len)))
    (i32.store8 (local.get $to) (i32.const 33)) ;; !

    ;; Returns the reply's position and length.
    (i64.or
      (i64.shl (i64.extend_i32_u (global.get $reply)) (i64.const 32))
      (i64.extend_i32_u (i32.sub (i32.add (local.get $to) (i32.const 1)) (global.get $reply))))))
