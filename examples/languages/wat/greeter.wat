;; Three functions that implement the contract by hand.
;;
;; Memory: constant texts; the buffer that the host fills with arguments; the memory of the running call.
;; Nothing outlives a call, so the next one starts after the buffer again, and the memory is as large as the
;; largest call needs.
(module
  (import "wpc" "wpc_constant" (func $constant (param i32 i32 i32 i32) (result i64)))
  (import "wpc" "wpc_take" (func $take (param i32 i32) (result i64)))
  (import "wpc" "wpc_panic" (func $panic (param i32 i32)))
  (import "wpc:path_dep" "basename" (func $basename (param i32 i32 i32 i32) (result i64)))

  (memory (export "memory") 1)

  ;; The signatures, so that the functions can be called with JSON. A record: kind 1; the length of the
  ;; rest; the function's name; the number of arguments, and for each its name and type; the result's type.
  ;; A type: 1, its name, then 16 for a string, or 22 for a sequence of the type that follows: u8, 2.
  ;; The last record is of kind 3, for an import: the import module, then as kind 1.
  (@custom "wpc"
    "\01\1e" "\05greet" "\01" "\04name" "\01\06String\10" "\01\06String\10"
    "\01\23" "\07reverse" "\01" "\05bytes" "\01\03Vec\16\02u8\02" "\01\03Vec\16\02u8\02"
    "\01\1e" "\05title" "\01" "\04path" "\01\06String\10" "\01\06String\10"
    "\03\2e" "\0cwpc:path_dep" "\08basename" "\01" "\04path" "\01\06String\10" "\01\06String\10")

  ;; ---- Texts -------------------------------------------------------------------------------------

  ;; A reply of 43 bytes: kind 2, the reason why arguments did not decode.
  (data (i32.const 0) "\02\29expected exactly one string or byte array")
  ;; Replies of 30, 56, 48, 64 and 64 bytes: kind 1, a guest error with name and message, without a stack.
  (data (i32.const 48) "\01\09EmptyName\11the name is empty\00")
  (data (i32.const 96) "\01\12ConstantNotDefined\22constant `GREETING` is not defined\00")
  (data (i32.const 160) "\01\0bDecodeError\21constant GREETING is not a string\00")
  (data (i32.const 208) "\01\0bDecodeError\31the reply of `path_dep::basename` is not a string\00")
  (data (i32.const 272) "\01\0cBadArguments\30`path_dep::basename` cannot decode its arguments\00")
  ;; Parts of texts.
  (data (i32.const 336) "GREETING")
  (data (i32.const 344) ", ")
  (data (i32.const 346) "!")
  (data (i32.const 347) "file: ")
  (data (i32.const 353) "out of memory")

  ;; ---- Memory ------------------------------------------------------------------------------------

  ;; The end of the buffer, and the end of the running call's memory.
  (global $buffer_end (mut i32) (i32.const 1025))
  (global $used_end (mut i32) (i32.const 1025))

  ;; Allocates bytes for the running call.
  (func $allocate (param $len i32) (result i32)
    (local $at i32) (local $missing i32)
    (local.set $at (global.get $used_end))
    ;; The number of missing pages. One byte more than needed, so that the end has an address too; in 64
    ;; bits, so that the sum cannot overflow.
    (local.set $missing (i32.sub
      (i32.wrap_i64 (i64.shr_u
        (i64.add
          (i64.add (i64.extend_i32_u (local.get $at)) (i64.extend_i32_u (local.get $len)))
          (i64.const 65536))
        (i64.const 16)))
      (memory.size)))
    (if (i32.gt_s (local.get $missing) (i32.const 0)) (then
      (if (i32.eq (memory.grow (local.get $missing)) (i32.const -1)) (then
        ;; The caller gets the message that was reported before the trap.
        (call $panic (i32.const 353) (i32.const 13))
        unreachable))))
    (global.set $used_end (i32.add (local.get $at) (local.get $len)))
    (local.get $at))

  ;; The contract's buffer. It always begins at 1025, because no data of a call is needed between calls. The
  ;; byte before it is for `reverse`.
  (func (export "wpc_buffer_v1") (param $len i32) (result i32)
    (local $at i32)
    (global.set $used_end (i32.const 1025))
    (local.set $at (call $allocate (local.get $len)))
    (global.set $buffer_end (global.get $used_end))
    (local.get $at))

  ;; ---- Encoded values ----------------------------------------------------------------------------

  ;; Decodes a single string or sequence of bytes: the length as a varint, then that many bytes, and nothing
  ;; after them. Returns the address and the length of the bytes, or 0 and 0 for anything else.
  (func $only (param $at i32) (param $len i32) (result i32 i32)
    (local $end i32) (local $byte i32) (local $shift i64) (local $value i64)
    (local.set $end (i32.add (local.get $at) (local.get $len)))
    (loop $next
      ;; A length has at most five bytes.
      (if (i32.or
            (i32.eq (local.get $at) (local.get $end))
            (i64.eq (local.get $shift) (i64.const 35)))
        (then (return (i32.const 0) (i32.const 0))))
      (local.set $byte (i32.load8_u (local.get $at)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (local.set $value (i64.or (local.get $value)
        (i64.shl (i64.extend_i32_u (i32.and (local.get $byte) (i32.const 127))) (local.get $shift))))
      (local.set $shift (i64.add (local.get $shift) (i64.const 7)))
      (br_if $next (i32.ge_u (local.get $byte) (i32.const 128))))
    (local.set $len (i32.sub (local.get $end) (local.get $at)))
    (if (i64.ne (local.get $value) (i64.extend_i32_u (local.get $len)))
      (then (return (i32.const 0) (i32.const 0))))
    (local.get $at) (local.get $len))

  ;; Packs the address and the length of a reply into a function's result.
  (func $reply (param $at i32) (param $len i32) (result i64)
    (i64.or
      (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32))
      (i64.extend_i32_u (local.get $len))))

  ;; The packed reply that is being written, and the address of its next byte.
  (global $text (mut i64) (i64.const 0))
  (global $to (mut i32) (i32.const 0))

  ;; Begins a reply of one string of `len` bytes: kind 0 and the length. `$write` adds the bytes.
  (func $begin_text (param $len i32)
    (local $at i32) (local $rest i32)
    ;; A kind has one byte, a length at most five.
    (local.set $at (call $allocate (i32.add (local.get $len) (i32.const 6))))
    (i32.store8 (local.get $at) (i32.const 0))
    (global.set $to (i32.add (local.get $at) (i32.const 1)))
    (local.set $rest (local.get $len))
    (block $last (loop $next
      (br_if $last (i32.lt_u (local.get $rest) (i32.const 128)))
      (i32.store8 (global.get $to) (i32.or (local.get $rest) (i32.const 128)))
      (global.set $to (i32.add (global.get $to) (i32.const 1)))
      (local.set $rest (i32.shr_u (local.get $rest) (i32.const 7)))
      (br $next)))
    (i32.store8 (global.get $to) (local.get $rest))
    (global.set $to (i32.add (global.get $to) (i32.const 1)))
    (global.set $text (call $reply
      (local.get $at)
      (i32.add (i32.sub (global.get $to) (local.get $at)) (local.get $len)))))

  (func $write (param $at i32) (param $len i32)
    (memory.copy (global.get $to) (local.get $at) (local.get $len))
    (global.set $to (i32.add (global.get $to) (local.get $len))))

  ;; ---- Functions ---------------------------------------------------------------------------------

  ;; Returns the constant GREETING and the name: "Hello, Ada!".
  (func (export "greet") (param $at i32) (param $len i32) (result i64)
    (local $buffer i32) (local $size i64)
    (local $name i32) (local $name_len i32) (local $greeting i32) (local $greeting_len i32)
    (global.set $used_end (global.get $buffer_end))

    (call $only (local.get $at) (local.get $len))
    (local.set $name_len) (local.set $name)
    (if (i32.eqz (local.get $name))
      (then (return (call $reply (i32.const 0) (i32.const 43)))))
    (if (i32.eqz (local.get $name_len))
      (then (return (call $reply (i32.const 48) (i32.const 30)))))

    ;; Most constants fit this buffer. For a larger one the host only returns its length.
    (local.set $buffer (call $allocate (i32.const 512)))
    (local.set $size
      (call $constant (i32.const 336) (i32.const 8) (local.get $buffer) (i32.const 512)))
    (if (i64.gt_s (local.get $size) (i64.const 512)) (then
      (local.set $buffer (call $allocate (i32.wrap_i64 (local.get $size))))
      (local.set $size (call $constant
        (i32.const 336) (i32.const 8) (local.get $buffer) (i32.wrap_i64 (local.get $size))))))
    (if (i64.lt_s (local.get $size) (i64.const 0))
      (then (return (call $reply (i32.const 96) (i32.const 56)))))

    (call $only (local.get $buffer) (i32.wrap_i64 (local.get $size)))
    (local.set $greeting_len) (local.set $greeting)
    (if (i32.eqz (local.get $greeting))
      (then (return (call $reply (i32.const 160) (i32.const 48)))))

    (call $begin_text
      (i32.add (i32.add (local.get $greeting_len) (local.get $name_len)) (i32.const 3)))
    (call $write (local.get $greeting) (local.get $greeting_len))
    (call $write (i32.const 344) (i32.const 2))
    (call $write (local.get $name) (local.get $name_len))
    (call $write (i32.const 346) (i32.const 1))
    (global.get $text))

  ;; Returns the bytes in reverse order. The reply differs from the arguments by its kind and by the order of
  ;; bytes, so it is written in place: in the buffer and the byte before it.
  (func (export "reverse") (param $at i32) (param $len i32) (result i64)
    (local $left i32) (local $right i32) (local $byte i32)
    (call $only (local.get $at) (local.get $len))
    (local.set $right) (local.set $left)
    (if (i32.eqz (local.get $left))
      (then (return (call $reply (i32.const 0) (i32.const 43)))))

    (local.set $right (i32.add (local.get $left) (local.get $right)))
    (block $done (loop $next
      (local.set $right (i32.sub (local.get $right) (i32.const 1)))
      (br_if $done (i32.ge_u (local.get $left) (local.get $right)))
      (local.set $byte (i32.load8_u (local.get $left)))
      (i32.store8 (local.get $left) (i32.load8_u (local.get $right)))
      (i32.store8 (local.get $right) (local.get $byte))
      (local.set $left (i32.add (local.get $left) (i32.const 1)))
      (br $next)))

    (local.set $at (i32.sub (local.get $at) (i32.const 1)))
    (i32.store8 (local.get $at) (i32.const 0))
    (call $reply (local.get $at) (i32.add (local.get $len) (i32.const 1))))

  ;; Returns the dependency's name of the file: "file: todo.txt".
  (func (export "title") (param $at i32) (param $len i32) (result i64)
    (local $buffer i32) (local $size i32) (local $kind i32) (local $name i32) (local $name_len i32)
    (global.set $used_end (global.get $buffer_end))

    (call $only (local.get $at) (local.get $len))
    (local.set $name_len) (local.set $name)
    (if (i32.eqz (local.get $name))
      (then (return (call $reply (i32.const 0) (i32.const 43)))))

    ;; The dependency takes the same arguments, so they are passed unchanged.
    (local.set $buffer (call $allocate (i32.const 512)))
    (local.set $size (i32.wrap_i64
      (call $basename (local.get $at) (local.get $len) (local.get $buffer) (i32.const 512))))
    ;; The host keeps a larger reply until it is taken.
    (if (i32.gt_u (local.get $size) (i32.const 512)) (then
      (local.set $buffer (call $allocate (local.get $size)))
      (drop (call $take (local.get $buffer) (local.get $size)))))

    (local.set $kind (i32.load8_u (local.get $buffer)))
    ;; An error is returned unchanged. If the dependency could not decode its arguments, this function, not
    ;; its caller, is wrong.
    (if (i32.eq (local.get $kind) (i32.const 1))
      (then (return (call $reply (local.get $buffer) (local.get $size)))))
    (if (i32.eq (local.get $kind) (i32.const 2))
      (then (return (call $reply (i32.const 272) (i32.const 64)))))
    (call $only (i32.add (local.get $buffer) (i32.const 1)) (i32.sub (local.get $size) (i32.const 1)))
    (local.set $name_len) (local.set $name)
    (if (i32.eqz (local.get $name))
      (then (return (call $reply (i32.const 208) (i32.const 64)))))

    (call $begin_text (i32.add (local.get $name_len) (i32.const 6)))
    (call $write (i32.const 347) (i32.const 6))
    (call $write (local.get $name) (local.get $name_len))
    (global.get $text))
)
