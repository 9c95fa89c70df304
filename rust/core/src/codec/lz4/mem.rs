//! Unchecked loads and stores for the LZ4 encoder and decoder: the only raw memory accesses of the codec.
//!
//! Every function states the bound that its caller proves; debug builds assert it.

/// Loads `N` bytes at `at`.
///
/// # Safety
/// `at + N <= bytes.len()`.
#[inline(always)]
pub(super) unsafe fn load<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    debug_assert!(at + N <= bytes.len());
    let from = bytes.as_ptr().wrapping_add(at).cast::<[u8; N]>();
    // SAFETY: the caller's bound keeps all N bytes inside `bytes`; a byte array has alignment 1.
    unsafe { from.read() }
}

/// Stores `N` bytes at `at`.
///
/// # Safety
/// `at + N <= bytes.len()`.
#[inline(always)]
pub(super) unsafe fn store<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    debug_assert!(at + N <= bytes.len());
    let to = bytes.as_mut_ptr().wrapping_add(at).cast::<[u8; N]>();
    // SAFETY: the caller's bound keeps all N bytes inside `bytes`, which is borrowed exclusively.
    unsafe { to.write(value) }
}

/// Loads a little-endian `u32` at `at`.
///
/// # Safety
/// `at + 4 <= bytes.len()`.
#[inline(always)]
pub(super) unsafe fn load32(bytes: &[u8], at: usize) -> u32 {
    // SAFETY: the caller's bound is `load`'s.
    u32::from_le_bytes(unsafe { load(bytes, at) })
}

/// Loads a little-endian `u64` at `at`.
///
/// # Safety
/// `at + 8 <= bytes.len()`.
#[inline(always)]
pub(super) unsafe fn load64(bytes: &[u8], at: usize) -> u64 {
    // SAFETY: the caller's bound is `load`'s.
    u64::from_le_bytes(unsafe { load(bytes, at) })
}
