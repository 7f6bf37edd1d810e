//! Why the store could not do what it was asked, whichever database it is on.

use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nobody knows whether it was done; asking again is safe.
    #[error("the database does not answer")]
    Unavailable(#[source] sqlx::Error),
    /// The database refused these values.
    #[error("the database refused the values")]
    Refused(#[source] sqlx::Error),
    #[error("the migrations could not be applied")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("a stored row is not what this version writes: {0}")]
    Corrupt(String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(cause) if blames_the_values(cause.as_ref()) => Self::Refused(error),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Self::Corrupt(error.to_string()),
            _ => Self::Unavailable(error),
        }
    }
}

/// SQLSTATE classes that blame the values: data exception, integrity constraint, program limit.
const POSTGRES_CLASSES: [&str; 3] = ["22", "23", "54"];
/// The same of SQLite's primary result codes: `TOOBIG`, `CONSTRAINT`, `MISMATCH`.
const SQLITE_CODES: [u32; 3] = [18, 19, 20];

/// The two number their errors alike and mean different things: SQLite's 2314 is a failing disk, and 23… is a
/// broken constraint of Postgres. Hence the question whose error it is.
fn blames_the_values(cause: &(dyn DatabaseError + 'static)) -> bool {
    let code = cause.code().unwrap_or_default();
    if cause.try_downcast_ref::<PgDatabaseError>().is_some() {
        return POSTGRES_CLASSES.iter().any(|class| code.starts_with(class));
    }
    // The low byte of an extended code is the primary one.
    code.parse::<u32>().is_ok_and(|code| SQLITE_CODES.contains(&(code & 0xff)))
}
