//! Real pages to measure on.

use kcompressd_core::codec::same_filled;
use kcompressd_core::units::PAGE_SIZE;
use std::path::{Path, PathBuf};

/// Pages of one process, in order.
pub struct Corpus {
    /// The file's name without its endings.
    pub name: String,
    raw: Vec<u8>,
}

impl Corpus {
    /// The pages that a store would compress: all but the same-filled ones.
    pub fn pages(&self) -> Vec<&[u8]> {
        self.raw.chunks_exact(PAGE_SIZE).filter(|page| same_filled(page).is_none()).collect()
    }

    /// Every page, one after the other.
    pub fn bytes(&self) -> &[u8] {
        &self.raw
    }

    /// Pages there are.
    pub fn len(&self) -> usize {
        self.raw.len() / PAGE_SIZE
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// The pages of a file, raw or in zstd.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn read(path: &Path) -> Self {
        let file = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let raw = if name.ends_with(".zst") { unpack(&file) } else { file };
        Self { name: name.split('.').next().unwrap_or_default().to_owned(), raw }
    }
}

fn unpack(file: &[u8]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(256 << 20);
    zstd_safe::decompress(&mut raw, file).expect("at most 256 MiB of zstd");
    raw
}

/// The page files among the arguments; without any, the package's sample and the corpora of `KCOMPRESSD_SHARED`
/// or of `../shared`, where they are.
///
/// # Panics
/// When a file cannot be read.
pub fn corpora() -> Vec<Corpus> {
    let given: Vec<PathBuf> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).map(PathBuf::from).collect();
    let files = if given.is_empty() { known() } else { given };
    files.iter().map(|path| Corpus::read(path)).collect()
}

fn known() -> Vec<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sample = here.join("../python/kcompressd/data/sample.pages.zst");
    let near = ["..", "../..", "../../.."].map(|up| here.join(up).join("shared"));
    let named = std::env::var_os("KCOMPRESSD_SHARED").map(PathBuf::from);
    let corpora = named.into_iter().chain(near).map(|shared| shared.join("corpora")).find(|folder| folder.is_dir());
    let corpora =
        corpora.into_iter().flat_map(|folder| ["py", "node"].map(|name| folder.join(name).with_extension("pages.zst")));
    std::iter::once(sample).chain(corpora).collect()
}
