//! The absolute limits of what is read. Ratios would not do: real reports shrink a hundredfold.

/// Octets of one report's XML, uncompressed.
pub const XML: u64 = 64 << 20;
/// Octets of one message.
pub const MESSAGE: u64 = 25 << 20;
/// Octets of a message that are text, encoded as they came. A parser turns text into Unicode, for which it may need four
/// times as much; archives are taken as they are.
pub const TEXT: usize = 16 << 20;
/// Members of one archive, or parts of one message.
pub const MEMBERS: usize = 64;
/// Containers in containers: a zip in a message, a gzip in a gzip.
pub const NESTING: usize = 3;
/// Elements in elements.
pub const DEPTH: usize = 32;
/// Octets of one tag, comment or text.
pub const TOKEN: usize = 1 << 20;
/// Octets of one value that is kept.
pub const VALUE: usize = 16 << 10;
/// Different rows of one report; a report of 64 MiB that needs more is cut there, and says so.
pub const ROWS: usize = 300_000;
/// Octets of the different texts of one report.
pub const TEXTS: usize = 8 << 20;
/// Sentences about one report.
pub const SENTENCES: usize = 20;
