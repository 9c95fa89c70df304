//! How a user names a compressor: `lz4`, `zstd:3`, and lists of them, `lz4,zstd:1`.
//!
//! A level means what the kernel's `level` parameter means for that compressor: the acceleration for `lz4`, the level
//! of zstd, deflate and lz4hc; lzo, lzo-rle and 842 have none.

use super::Compressor;
use super::deflate::Deflate;
use super::lz4::Lz4;
use super::lz4hc::Lz4Hc;
use super::lzo::Lzo;
use super::p842::P842;
use super::zstd::Zstd;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// The compressors, with the kernel's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CodecName {
    /// LZ4, fast.
    Lz4,
    /// LZ4, thorough.
    Lz4Hc,
    /// LZO1X-1.
    Lzo,
    /// LZO1X-1 with runs of zeroes.
    LzoRle,
    /// Zstandard.
    Zstd,
    /// Raw DEFLATE.
    Deflate,
    /// 842, IBM's hardware format.
    P842,
}

impl CodecName {
    /// Every compressor, in the order in which help texts name them.
    pub const ALL: [Self; 7] = [Self::Lz4, Self::Lz4Hc, Self::Lzo, Self::LzoRle, Self::Zstd, Self::Deflate, Self::P842];

    /// The kernel's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lz4 => "lz4",
            Self::Lz4Hc => "lz4hc",
            Self::Lzo => "lzo",
            Self::LzoRle => "lzo-rle",
            Self::Zstd => "zstd",
            Self::Deflate => "deflate",
            Self::P842 => "842",
        }
    }

    /// The levels it takes, or `None` when it has none.
    pub fn levels(self) -> Option<RangeInclusive<i32>> {
        match self {
            Self::Lz4 => Some(1..=Lz4::MAX_ACCELERATION as i32),
            Self::Lz4Hc => Some(1..=Lz4Hc::MAX_LEVEL as i32),
            Self::Zstd => Some(Zstd::MIN_LEVEL..=Zstd::MAX_LEVEL),
            Self::Deflate => Some(0..=Deflate::MAX_LEVEL as i32),
            Self::Lzo | Self::LzoRle | Self::P842 => None,
        }
    }

    /// The kernel's default level, or `None` when it has none.
    pub const fn default_level(self) -> Option<i32> {
        match self {
            Self::Lz4 => Some(1),
            Self::Lz4Hc => Some(Lz4Hc::DEFAULT_LEVEL as i32),
            Self::Zstd => Some(Zstd::DEFAULT_LEVEL),
            Self::Deflate => Some(Deflate::DEFAULT_LEVEL as i32),
            Self::Lzo | Self::LzoRle | Self::P842 => None,
        }
    }
}

impl fmt::Display for CodecName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a compressor's name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// No name where one is due: an empty text, or two commas in a row.
    #[error("a compressor's name is missing in {text:?}; known: {}", known())]
    Empty {
        /// The whole text.
        text: String,
    },
    /// A name that is not the kernel's.
    #[error("unknown compressor {name:?}; known: {}", known())]
    Unknown {
        /// The name as given.
        name: String,
    },
    /// A level for a compressor that has none.
    #[error("compressor {name} has no levels, {level:?} was given")]
    NoLevels {
        /// The compressor.
        name: CodecName,
        /// The level as given.
        level: String,
    },
    /// A level that is no whole number in the compressor's range.
    #[error("level {level:?} of {name} is not a whole number from {} to {}", range.start(), range.end())]
    Level {
        /// The compressor.
        name: CodecName,
        /// The level as given.
        level: String,
        /// The levels it takes.
        range: RangeInclusive<i32>,
    },
}

fn known() -> String {
    CodecName::ALL.map(CodecName::as_str).join(", ")
}

/// A compressor and its level: what one `-c` item says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CodecSpec {
    name: CodecName,
    /// In range; `None` exactly when the compressor has no levels.
    level: Option<i32>,
}

impl CodecSpec {
    /// `name` at `level`, or at its default level.
    ///
    /// # Errors
    /// [`SpecError`] when the compressor does not take the level.
    pub fn new(name: CodecName, level: Option<i32>) -> Result<Self, SpecError> {
        let Some(level) = level else { return Ok(Self { name, level: name.default_level() }) };
        match name.levels() {
            None => Err(SpecError::NoLevels { name, level: level.to_string() }),
            Some(range) if range.contains(&level) => Ok(Self { name, level: Some(level) }),
            Some(range) => Err(SpecError::Level { name, level: level.to_string(), range }),
        }
    }

    /// The specs of a list such as `lz4,zstd:1`, in its order; blanks around items are ignored.
    ///
    /// # Errors
    /// [`SpecError`] of the first item that is refused; an empty list is refused as well.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, SpecError> {
        text.split(',').map(|item| item.trim().parse()).collect::<Result<_, _>>().map_err(|error| match error {
            SpecError::Empty { .. } => SpecError::Empty { text: text.to_owned() },
            other => other,
        })
    }

    /// The compressor.
    pub const fn name(&self) -> CodecName {
        self.name
    }

    /// The level in force, or `None` when the compressor has none.
    pub const fn level(&self) -> Option<i32> {
        self.level
    }

    /// The spec as one word, for an atomic.
    pub(crate) fn to_word(self) -> u64 {
        (self.name as u64) << 32 | u64::from(self.level.unwrap_or(0) as u32)
    }

    /// The spec of a word from [`CodecSpec::to_word`].
    pub(crate) fn from_word(word: u64) -> Self {
        let name = CodecName::ALL[(word >> 32) as usize];
        Self { name, level: name.levels().map(|_| word as i32) }
    }

    /// A fresh compressor for one thread.
    pub fn open(&self) -> Box<dyn Compressor> {
        let level = self.level.unwrap_or(0);
        let positive = level.max(0) as u32;
        match self.name {
            CodecName::Lz4 => Box::new(Lz4::new(positive)),
            CodecName::Lz4Hc => Box::new(Lz4Hc::new(positive)),
            CodecName::Zstd => Box::new(Zstd::new(level)),
            CodecName::Deflate => Box::new(Deflate::new(positive)),
            CodecName::Lzo => Box::new(Lzo::new(false)),
            CodecName::LzoRle => Box::new(Lzo::new(true)),
            CodecName::P842 => Box::new(P842::new()),
        }
    }
}

impl FromStr for CodecSpec {
    type Err = SpecError;

    /// Parses `name` or `name:level`.
    fn from_str(text: &str) -> Result<Self, SpecError> {
        let (given, level) = text.split_once(':').map_or((text, None), |(name, level)| (name, Some(level)));
        if given.is_empty() {
            return Err(SpecError::Empty { text: text.to_owned() });
        }
        let name = CodecName::ALL.into_iter().find(|name| name.as_str() == given);
        let name = name.ok_or_else(|| SpecError::Unknown { name: given.to_owned() })?;
        let Some(level) = level else { return Self::new(name, None) };
        match (level.parse(), name.levels()) {
            (Err(_), Some(range)) => Err(SpecError::Level { name, level: level.to_owned(), range }),
            (Err(_), None) => Err(SpecError::NoLevels { name, level: level.to_owned() }),
            (Ok(level), _) => Self::new(name, Some(level)),
        }
    }
}

impl fmt::Display for CodecSpec {
    /// As [`CodecSpec::from_str`] reads it: without the level when it is the default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Some(level) if self.level != self.name.default_level() => write!(f, "{}:{level}", self.name),
            _ => write!(f, "{}", self.name),
        }
    }
}
