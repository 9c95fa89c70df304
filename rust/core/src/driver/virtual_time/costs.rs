//! What work costs on a CPU of 100 % speed.

use crate::system::{Contents, Store, System, Work};

/// Folios that are passed over while one is looked at (docs/fidelity.md).
const PASSED_OVER: u64 = 20;

/// Nanoseconds where nothing else is said, on a CPU of 100 % speed. Device times do not scale with the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    /// Looking at a folio, or moving it.
    pub scan_ns: u64,
    /// A request to the page allocator in vain; `None`: as long as a look.
    pub alloc_failed_ns: Option<u64>,
    /// Taking a page out of its page tables.
    pub unmap_ns: u64,
    /// A page fault, without what it reads.
    pub fault_ns: u64,
    /// Clearing a new page.
    pub zero_page_ns: u64,
    /// The application's reading or writing of a page.
    pub touch_ns: u64,
    /// A state change or a short critical section.
    pub commit_ns: u64,
    /// Reading a page for the zero test, or for zram's repeated word: picoseconds per byte.
    pub zero_test_ps_per_byte: u64,
    /// Compressing any page; `None`: as the page's [`crate::system::Sizes`] say.
    pub compress_ns: Option<u64>,
    /// Decompressing any page; `None`: as the page's sizes say.
    pub decompress_ns: Option<u64>,
    /// CPU time of a request to the device, before the device's own.
    pub device_cpu_ns: u64,
    /// Writing a page to the device.
    pub device_write_ns: u64,
    /// Reading a page from the device.
    pub device_read_ns: u64,
}

impl Default for Costs {
    /// Round numbers of a desktop CPU and an NVMe device; `kcompressd calibrate` measures a host's.
    fn default() -> Self {
        Self {
            scan_ns: 100,
            alloc_failed_ns: None,
            unmap_ns: 400,
            fault_ns: 500,
            zero_page_ns: 300,
            touch_ns: 200,
            commit_ns: 50,
            zero_test_ps_per_byte: 40,
            compress_ns: None,
            decompress_ns: None,
            device_cpu_ns: 0,
            device_write_ns: 20_000,
            device_read_ns: 80_000,
        }
    }
}

impl Costs {
    /// Each cost that is one number, by name, for settings.
    pub fn named(&mut self) -> [(&'static str, &mut u64); 10] {
        [
            ("scan_ns", &mut self.scan_ns),
            ("unmap_ns", &mut self.unmap_ns),
            ("fault_ns", &mut self.fault_ns),
            ("zero_page_ns", &mut self.zero_page_ns),
            ("touch_ns", &mut self.touch_ns),
            ("commit_ns", &mut self.commit_ns),
            ("zero_test_ps_per_byte", &mut self.zero_test_ps_per_byte),
            ("device_cpu_ns", &mut self.device_cpu_ns),
            ("device_write_ns", &mut self.device_write_ns),
            ("device_read_ns", &mut self.device_read_ns),
        ]
    }

    /// What `work` costs.
    #[inline]
    pub fn of(&self, sys: &System, work: Work) -> u64 {
        match work {
            Work::Scan => self.scan_ns,
            Work::PassOver(folios) => self.scan_ns * (PASSED_OVER + u64::from(folios)) / PASSED_OVER,
            Work::AllocFailed(requests) => self.alloc_failed_ns.unwrap_or(self.scan_ns) * u64::from(requests),
            Work::Unmap => self.unmap_ns,
            Work::Fault => self.fault_ns,
            Work::ZeroPage => self.zero_page_ns,
            Work::Touch => self.touch_ns,
            Work::Think(ns) => u64::from(ns),
            Work::Commit => self.commit_ns,
            Work::ZeroTest(_) => self.zero_test_ns(sys),
            // zram finds the word by reading the page, and writes it all over a page that is read back.
            Work::Compress(page) if zram_finds_same(sys, page) => self.zero_test_ns(sys),
            Work::Decompress(page) if zram_finds_same(sys, page) => self.zero_page_ns,
            Work::Compress(page) => self.compress_ns.unwrap_or_else(|| codec_ns(sys, page).0),
            Work::Decompress(page) => self.decompress_ns.unwrap_or_else(|| codec_ns(sys, page).1),
            Work::DeviceWrite(_) => self.device_write_ns,
            Work::DeviceRead(_) => self.device_read_ns,
        }
    }

    fn zero_test_ns(&self, sys: &System) -> u64 {
        self.zero_test_ps_per_byte * sys.config.page_size as u64 / 1000
    }
}

/// Whether the page is one repeated word and zram, which looks for one before it compresses, its store.
fn zram_finds_same(sys: &System, page: u32) -> bool {
    matches!((&sys.store, &sys.contents), (Store::Zram(_), Contents::Sizes(sizes)) if sizes.same[sys.contents.source(page)])
}

/// Nanoseconds to compress and to decompress a page; 0 for a system with bytes, which no table describes.
fn codec_ns(sys: &System, page: u32) -> (u64, u64) {
    match &sys.contents {
        Contents::Sizes(sizes) => {
            let page = sys.contents.source(page);
            (u64::from(sizes.compress_ns[page]), u64::from(sizes.decompress_ns[page]))
        }
        Contents::Frames(_) => (0, 0),
    }
}
