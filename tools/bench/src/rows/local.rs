//! Calls and instantiations on the caller's thread.

use super::bare;
use crate::baselines::{Bare, engine};
use crate::guests::{Guests, add, check};
use crate::row::{Row, against};
use crate::sampling::batched;
use anyhow::{Result, ensure};
use wpc_host::WasmModule;

pub(super) fn local_add(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let wpc = guests.pool(1)?;
    let (add, mut here) = (add(&wpc)?, wpc.local_worker());
    let mut bare_add = bare(engine().and_then(|engine| Bare::new(&engine, &guests.bare)?.add()))?;
    let mut ours = batched(10_000, || check(here.call_function(&add, (40, 2))?));
    let mut baseline = batched(10_000, || check(bare(bare_add(40, 2))?));
    against("typed `add` on the caller's thread", 5.0, &mut ours, &mut baseline, tick)
}

pub(super) fn local_echo_1k(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    const LEN: usize = 1 << 10;
    let wpc = guests.pool(1)?;
    let mut here = wpc.local_worker();
    let function = wpc.function::<(Vec<u8>,), Vec<u8>>("echo_bytes")?;
    let bytes = vec![7; LEN];
    let mut echo = bare(engine().and_then(|engine| Bare::new(&engine, &guests.bare)?.echo(LEN)))?;
    let mut ours = batched(1_000, || {
        let back = here.call_function(&function, (bytes.as_slice(),))?;
        ensure!(back == bytes, "the returned bytes differ");
        Ok(())
    });
    let mut baseline = batched(1_000, || {
        ensure!(bare(echo(&bytes))? == bytes, "the returned bytes differ");
        Ok(())
    });
    against("round trip of 1 KiB on the caller's thread", 2.0, &mut ours, &mut baseline, tick)
}

pub(super) fn local_echo_1m(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    const LEN: usize = 1 << 20;
    let wpc = guests.pool(1)?;
    let mut here = wpc.local_worker();
    let function = wpc.function::<(Vec<u8>,), Vec<u8>>("echo_bytes")?;
    let bytes = vec![7; LEN];
    let mut echo = bare(engine().and_then(|engine| Bare::new(&engine, &guests.bare)?.echo(LEN)))?;
    let mut ours = batched(2, || {
        let back = here.call_function(&function, (bytes.as_slice(),))?;
        ensure!(back == bytes, "the returned bytes differ");
        Ok(())
    });
    let mut baseline = batched(2, || {
        ensure!(bare(echo(&bytes))? == bytes, "the returned bytes differ");
        Ok(())
    });
    against("round trip of 1 MiB on the caller's thread", 1.5, &mut ours, &mut baseline, tick)
}

/// The baseline is one copy, the least that a call with bytes can make. The goal corresponds to that of the previous
/// row, whose baseline makes 2.75 copies.
pub(super) fn local_echo_copied(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    const LEN: usize = 1 << 20;
    let wpc = guests.pool(1)?;
    let mut here = wpc.local_worker();
    let function = wpc.function::<(Vec<u8>,), Vec<u8>>("echo_bytes")?;
    let bytes = vec![7; LEN];
    let mut copy = vec![0; LEN];
    let mut ours = batched(2, || {
        ensure!(
            here.call_function(&function, (bytes.as_slice(),))?.len() == LEN,
            "the returned bytes are shorter"
        );
        Ok(())
    });
    let mut baseline = batched(2, || {
        copy.copy_from_slice(std::hint::black_box(&bytes));
        std::hint::black_box(&mut copy);
        Ok(())
    });
    let row = "round trip of 1 MiB, caller's thread (baseline: a `memcpy`)";
    against(row, 4.1, &mut ours, &mut baseline, tick)
}

/// No public function only instantiates a sandbox, so wpc's side includes a call, which takes a tenth of the time. The
/// baseline makes no call.
pub(super) fn new_sandbox(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let wpc = guests.pool(1)?;
    let module = WasmModule::new(guests.bare.as_slice()).export("nothing").isolate_calls();
    wpc.define_worker_function("fresh", module)?;
    let (fresh, mut here) = (wpc.function::<(), ()>("fresh")?, wpc.local_worker());
    let module = bare(engine().and_then(|engine| Bare::new(&engine, &guests.bare)))?;
    let mut ours = batched(100, || {
        here.call_function(&fresh, ())?;
        Ok(())
    });
    let mut baseline = batched(100, || bare(module.fresh()));
    against(
        "a new sandbox and an empty call in it (baseline: no call)",
        1.5,
        &mut ours,
        &mut baseline,
        tick,
    )
}

pub(super) fn local_isolated(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let wpc = guests.pool(1)?;
    let module = WasmModule::new(guests.bare.as_slice()).export("add").isolate_calls();
    wpc.define_worker_function("fresh", module)?;
    let (fresh, mut here) = (wpc.function::<(i32, i32), i32>("fresh")?, wpc.local_worker());
    let module = bare(engine().and_then(|engine| Bare::new(&engine, &guests.bare)))?;
    let mut ours = batched(100, || check(here.call_function(&fresh, (40, 2))?));
    let mut baseline = batched(100, || check(bare(module.fresh_add(40, 2))?));
    against(
        "a new sandbox for each call, on the caller's thread",
        1.3,
        &mut ours,
        &mut baseline,
        tick,
    )
}
