//! Why a log could not be opened, in words an operator can act on.

use std::io;
use std::path::PathBuf;

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Somebody else has the directory.
    #[error("{directory}: {holder}; stop it, or give this one a data directory of its own")]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// Who has it, as far as is known.
        holder: String,
    },
    /// The system refused something.
    #[error("{directory}: {doing}: {source}")]
    Io {
        /// The directory.
        directory: PathBuf,
        /// What was attempted.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what its name says.
    #[error("{directory}: {file} {what}")]
    Unusable {
        /// The directory.
        directory: PathBuf,
        /// The file.
        file: String,
        /// What is wrong and what to do.
        what: String,
    },
}
