//! The state as lines of JSON, for `diff` and for review.
//!
//! The first line names the lineage; then one line a domain, in order of names: the ledger's document as it is kept.
//! There is nothing in it that a run which changes nothing would change. So the serial, the revisions and the wake-up
//! times stay out (a look at the world moves them, and they follow from the facts and the configuration), and so do
//! notes, which other machines' runs move. Private keys are not in the state, so they cannot be in here.
//!
//! It is a view and no backup: [`super::backup`] is.

use std::io::{self, BufWriter, Write};

use super::sqlite::{SqliteStore, fault, read_meta};
use super::{StoreError, document};

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the export could not be written: {0}")]
    Write(#[from] io::Error),
}

impl SqliteStore {
    /// Writes one line after the other; the whole is never in memory. All of it is of one moment.
    pub fn export(&self, out: &mut dyn Write) -> Result<(), ExportError> {
        let lost = |e| ExportError::Store(fault(&self.path, e));
        let of_one_moment = self.db.unchecked_transaction().map_err(lost)?;
        let (identity, _) = read_meta(&of_one_moment).map_err(|failure| failure.at(&self.path))?;
        let mut out = BufWriter::with_capacity(1 << 16, out);
        writeln!(out, r#"{{"v":{},"lineage":"{}"}}"#, document::VERSION, identity.lineage)?;

        let mut select = of_one_moment.prepare("SELECT name, doc FROM domain ORDER BY name").map_err(lost)?;
        let mut rows = select.query([]).map_err(lost)?;
        while let Some(row) = rows.next().map_err(lost)? {
            let text = |column| row.get_ref(column).and_then(|value| value.as_str().map_err(Into::into)).map_err(lost);
            let (name, doc) = (text(0)?, text(1)?);
            if doc.starts_with(&format!(r#"{{"v":{},"#, document::VERSION)) {
                out.write_all(doc.as_bytes())?;
            } else {
                // Of an older version, because nothing happened to the domain since: shown as it would be written.
                let damaged = |problem| StoreError::Damaged { domain: name.to_owned(), problem };
                out.write_all(document::write(&document::read(doc).map_err(damaged)?).as_bytes())?;
            }
            out.write_all(b"\n")?;
        }
        out.flush()?;
        Ok(())
    }
}
