//! Other libraries' encoders and decoders behind the core's trait: liblz4 (linked), liblzo2 (if this machine has it).

use kcompressd_core::codec::{Compressor, DecodeError};
use std::ffi::{CStr, c_char, c_int, c_void};

type Lz4Encode = unsafe extern "C" fn(*mut c_void, *const c_char, *mut c_char, c_int, c_int, c_int) -> c_int;

// liblz4's public lz4.h, linked by lz4-sys, which does not declare these.
unsafe extern "C" {
    fn LZ4_sizeofState() -> c_int;
    fn LZ4_compress_fast_extState(
        state: *mut c_void,
        src: *const c_char,
        dst: *mut c_char,
        src_bytes: c_int,
        dst_bytes: c_int,
        acceleration: c_int,
    ) -> c_int;
    fn LZ4_compress_fast_extState_fastReset(
        state: *mut c_void,
        src: *const c_char,
        dst: *mut c_char,
        src_bytes: c_int,
        dst_bytes: c_int,
        acceleration: c_int,
    ) -> c_int;
}

/// liblz4 with a state of its own.
pub struct LibLz4 {
    state: Vec<u64>,
    encode: Lz4Encode,
}

impl LibLz4 {
    /// The encoder that clears its state for each page, as the kernel's does.
    pub fn clearing() -> Self {
        Self::new(LZ4_compress_fast_extState)
    }

    /// The encoder that clears only what it must.
    pub fn quick_reset() -> Self {
        Self::new(LZ4_compress_fast_extState_fastReset)
    }

    fn new(encode: Lz4Encode) -> Self {
        // SAFETY: a function of no arguments that returns a constant.
        let bytes = unsafe { LZ4_sizeofState() } as usize;
        Self { state: vec![0; bytes.div_ceil(8)], encode }
    }
}

impl Compressor for LibLz4 {
    fn compress(&mut self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        let (from, to) = (src.as_ptr().cast(), dst.as_mut_ptr().cast());
        let (src_bytes, dst_bytes) = (src.len() as c_int, dst.len() as c_int);
        // SAFETY: the state has the library's size and was zeroed or used by it; lengths are the slices'.
        let bytes = unsafe { (self.encode)(self.state.as_mut_ptr().cast(), from, to, src_bytes, dst_bytes, 1) };
        (bytes > 0).then_some(bytes as usize)
    }

    fn decompress(&mut self, src: &[u8], dst: &mut [u8]) -> Result<(), DecodeError> {
        let (from, to) = (src.as_ptr().cast(), dst.as_mut_ptr().cast());
        // SAFETY: lengths are the slices'.
        let bytes = unsafe { lz4_sys::LZ4_decompress_safe(from, to, src.len() as c_int, dst.len() as c_int) };
        assert_eq!(bytes, dst.len() as c_int, "its own block");
        Ok(())
    }
}

type LzoCode = unsafe extern "C" fn(*const u8, usize, *mut u8, *mut usize, *mut c_void) -> c_int;

/// liblzo2's `lzo1x_1`, loaded at run time: the library is GPL, so nothing of ours links it.
pub struct LibLzo2 {
    work: Vec<u64>,
    encode: LzoCode,
    decode: LzoCode,
}

/// `LZO1X_1_MEM_COMPRESS` of the public lzo1x.h: 16384 pointers.
const LZO_WORK_BYTES: usize = 16384 * 8;

impl LibLzo2 {
    /// The library, or `None` where this machine has none.
    pub fn open() -> Option<Self> {
        // SAFETY: a constant, terminated name; the library's initialisers only fill its own tables.
        let library = unsafe { libc::dlopen(c"liblzo2.so.2".as_ptr(), libc::RTLD_NOW) };
        if library.is_null() {
            return None;
        }
        let symbol = |name: &CStr| {
            // SAFETY: the handle is open and the name terminated.
            let address = unsafe { libc::dlsym(library, name.as_ptr()) };
            assert!(!address.is_null(), "liblzo2 has {name:?}");
            // SAFETY: both symbols are functions of this type in the public lzo1x.h.
            unsafe { std::mem::transmute::<*mut c_void, LzoCode>(address) }
        };
        let (encode, decode) = (symbol(c"lzo1x_1_compress"), symbol(c"lzo1x_decompress_safe"));
        Some(Self { work: vec![0; LZO_WORK_BYTES / 8], encode, decode })
    }
}

impl Compressor for LibLzo2 {
    fn compress(&mut self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        let mut bytes = 0;
        assert!(dst.len() >= src.len() + src.len() / 16 + 64 + 3, "the worst case that the library documents");
        let (to, work) = (dst.as_mut_ptr(), self.work.as_mut_ptr().cast());
        // SAFETY: `dst` holds the worst case, `work` has the size and alignment asked for.
        let status = unsafe { (self.encode)(src.as_ptr(), src.len(), to, &mut bytes, work) };
        (status == 0).then_some(bytes)
    }

    fn decompress(&mut self, src: &[u8], dst: &mut [u8]) -> Result<(), DecodeError> {
        let mut bytes = dst.len();
        // SAFETY: lengths are the slices'; the decoder uses no work memory.
        let status =
            unsafe { (self.decode)(src.as_ptr(), src.len(), dst.as_mut_ptr(), &mut bytes, std::ptr::null_mut()) };
        assert_eq!((status, bytes), (0, dst.len()), "its own block");
        Ok(())
    }
}
