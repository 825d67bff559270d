//! Arbitrary bytes as an entry of the compile cache, and any change to a valid entry: neither opens.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use wpc_code_cache::entry::{Identity, Key, open, seal};

#[derive(Debug, Arbitrary)]
enum Damage {
    /// Usually not an entry at all.
    Replaced(Vec<u8>),
    Flipped {
        at: usize,
        bits: u8,
    },
    Cut {
        to: usize,
    },
    Extended(Vec<u8>),
    /// A part is replaced by that of another entry.
    Mixed {
        from: usize,
        to: usize,
    },
}

#[derive(Debug, Arbitrary)]
struct Input {
    code: Vec<u8>,
    other_code: Vec<u8>,
    module: [u8; 32],
    settings: [u8; 32],
    damage: Damage,
}

fuzz_target!(|input: Input| {
    let key = Key::new([7; Key::LENGTH]);
    let identity = Identity { module: input.module, settings: input.settings };
    let sound = seal(&input.code, &identity, &key);
    let opened = open(&sound, &identity, &key).expect("a sealed entry opens");
    assert_eq!(opened.bytes(), input.code);

    let other_code = seal(&input.other_code, &identity, &key);
    let mut damaged = sound.clone();
    match input.damage {
        Damage::Replaced(bytes) => damaged = bytes,
        Damage::Flipped { at, bits } => damaged[at % sound.len()] ^= bits,
        Damage::Cut { to } => damaged.truncate(to % sound.len()),
        Damage::Extended(bytes) => damaged.extend(bytes),
        Damage::Mixed { from, to } => {
            let most = sound.len().min(other_code.len());
            let (from, to) = (from % most, to % most);
            let (from, to) = (from.min(to), from.max(to));
            damaged[from..to].copy_from_slice(&other_code[from..to]);
        }
    }
    // If every difference is replaced, it equals the other entry, which has the same identity.
    if damaged != sound && damaged != other_code {
        assert!(open(&damaged, &identity, &key).is_err(), "it opens: {damaged:?}");
    }
    let other = Identity { module: input.settings, settings: input.module };
    if other != identity {
        assert!(open(&sound, &other, &key).is_err(), "it opens as another module's");
    }
});
