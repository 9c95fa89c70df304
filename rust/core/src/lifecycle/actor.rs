//! Actor ids: a kind in the high byte, a number in the low byte.

/// kswapd of a node.
pub const KSWAPD: u16 = 0x0100;
/// A kcompressd thread.
pub const KCOMPRESSD: u16 = 0x0200;
/// An application thread.
pub const APP: u16 = 0x0300;
/// The swap device's completion side.
pub const DEVICE: u16 = 0x0400;
/// zswap's shrink worker.
pub const SHRINK: u16 = 0x0500;
/// A script that drives step by step.
pub const SCRIPT: u16 = 0x0600;
/// Somebody who turns a knob.
pub const ADMIN: u16 = 0x0700;

/// The bits of an id that are its kind.
pub const KIND: u16 = 0xff00;

/// Which of the kinds `id` is.
pub const fn kind(id: u16) -> u16 {
    id & KIND
}

/// The name of an actor id as traces and messages show it.
pub fn actor_name(id: u16) -> String {
    let number = id & 0xff;
    match kind(id) {
        KSWAPD => format!("kswapd{number}"),
        KCOMPRESSD => format!("kcompressd{number}"),
        APP => format!("app{number}"),
        DEVICE => format!("swapdev{number}"),
        SHRINK => format!("shrink_worker{number}"),
        SCRIPT => "script".into(),
        ADMIN => format!("admin{number}"),
        _ => format!("actor{id}"),
    }
}

/// The id and mask of a thread's name (`kswapd0`) or of a kind of threads (`kswapd`); the mask is 0xff00 for a kind.
pub fn actors_named(name: &str) -> Option<(u16, u16)> {
    let kinds = [KSWAPD, KCOMPRESSD, APP, DEVICE, SHRINK];
    kinds.into_iter().find_map(|kind| {
        let rest = name.strip_prefix(actor_name(kind).strip_suffix('0')?)?;
        if rest.is_empty() {
            return Some((kind, KIND));
        }
        rest.parse::<u8>().ok().map(|number| (kind + u16::from(number), 0xffff))
    })
}
