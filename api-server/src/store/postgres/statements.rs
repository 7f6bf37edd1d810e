//! How statements reach Postgres: prepared once and kept by name, or, where a pooler stands before it, nameless.
//!
//! A pooler in transaction mode gives every transaction another server connection. A name that was given on one of them
//! means nothing, or something else, on the next; and a nameless statement lasts from its parsing to its execution only
//! within one transaction. So there each statement has a transaction, which begins with what else belongs to a session.

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgPool, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{
    Connection, Describe, Either, Error, Execute, Executor, PgConnection, Postgres as PgDriver, SqlStr,
};

use super::UNNAMED_BEGIN;
use crate::store::Connections;

/// Whether a session's statements may have names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statements {
    /// Parsed and planned once for each connection.
    Named,
    /// For a pooler in transaction mode: three more round trips for each statement.
    Unnamed,
}

type Step = Either<PgQueryResult, PgRow>;

/// Connections for everybody.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    pool: PgPool,
    statements: Statements,
}

/// A connection that somebody keeps.
#[derive(Debug)]
pub(super) struct Kept {
    connection: PoolConnection<PgDriver>,
    statements: Statements,
}

/// Several statements that take effect together.
#[derive(Debug)]
pub(super) struct Transaction {
    transaction: sqlx::Transaction<'static, PgDriver>,
    statements: Statements,
}

impl Pool {
    pub(super) fn new(pool: PgPool, statements: Statements) -> Self {
        Self { pool, statements }
    }

    pub(super) async fn begin(&self) -> Result<Transaction, Error> {
        let transaction = match self.statements {
            Statements::Named => self.pool.begin().await?,
            Statements::Unnamed => self.pool.begin_with(UNNAMED_BEGIN).await?,
        };
        Ok(Transaction { transaction, statements: self.statements })
    }

    pub(super) async fn keep_one(&self) -> Result<Kept, Error> {
        Ok(Kept { connection: self.pool.acquire().await?, statements: self.statements })
    }

    pub(super) fn connections(&self) -> Connections {
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX);
        Connections { idle, used: self.pool.size().saturating_sub(idle) }
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

impl Kept {
    /// Nobody else may use it any more.
    pub(super) fn close_on_drop(&mut self) {
        self.connection.close_on_drop();
    }
}

impl Transaction {
    pub(super) async fn commit(self) -> Result<(), Error> {
        self.transaction.commit().await
    }

    pub(super) async fn rollback(self) -> Result<(), Error> {
        self.transaction.rollback().await
    }
}

/// A statement without a name.
struct Unnamed<E>(E);

impl<'q, E: Execute<'q, PgDriver>> Execute<'q, PgDriver> for Unnamed<E> {
    fn sql(self) -> SqlStr {
        self.0.sql()
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.0.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<sqlx::postgres::PgArguments>, sqlx::error::BoxDynError> {
        self.0.take_arguments()
    }

    fn persistent(&self) -> bool {
        false
    }
}

/// Answers only what has been committed.
async fn in_own_transaction<'q>(
    connection: &mut PgConnection,
    query: impl Execute<'q, PgDriver> + 'q,
) -> Result<Vec<Step>, Error> {
    let mut transaction = connection.begin_with(UNNAMED_BEGIN).await?;
    let steps = transaction.fetch_many(Unnamed(query)).try_collect().await?;
    transaction.commit().await?;
    Ok(steps)
}

fn stream_of<'e>(
    steps: impl Future<Output = Result<Vec<Step>, Error>> + Send + 'e,
) -> BoxStream<'e, Result<Step, Error>> {
    stream::once(steps).map_ok(|steps| stream::iter(steps.into_iter().map(Ok))).try_flatten().boxed()
}

fn first_row(steps: Vec<Step>) -> Option<PgRow> {
    steps.into_iter().find_map(Either::right)
}

macro_rules! executor {
    ($executor:ty, $self:ident, named: $named:expr, unnamed($query:ident): $unnamed:expr) => {
        impl<'c> Executor<'c> for $executor {
            type Database = PgDriver;

            fn fetch_many<'e, 'q: 'e, E>($self, $query: E) -> BoxStream<'e, Result<Step, Error>>
            where
                'c: 'e,
                E: 'q + Execute<'q, PgDriver>,
            {
                match $self.statements {
                    Statements::Named => $named.fetch_many($query),
                    Statements::Unnamed => stream_of($unnamed),
                }
            }

            fn fetch_optional<'e, 'q: 'e, E>($self, $query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
            where
                'c: 'e,
                E: 'q + Execute<'q, PgDriver>,
            {
                match $self.statements {
                    Statements::Named => $named.fetch_optional($query),
                    Statements::Unnamed => Box::pin(async move { Ok(first_row($unnamed.await?)) }),
                }
            }

            fn prepare_with<'e>(
                $self,
                sql: SqlStr,
                parameters: &'e [PgTypeInfo],
            ) -> BoxFuture<'e, Result<PgStatement, Error>>
            where
                'c: 'e,
            {
                $named.prepare_with(sql, parameters)
            }

            fn describe<'e>($self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<PgDriver>, Error>>
            where
                'c: 'e,
            {
                $named.describe(sql)
            }
        }
    };
}

executor!(&'c Pool, self, named: (&self.pool), unnamed(query): async move {
    let mut connection = self.pool.acquire().await?;
    in_own_transaction(&mut connection, query).await
});
executor!(&'c mut Kept, self, named: (&mut *self.connection), unnamed(query): async move {
    in_own_transaction(&mut self.connection, query).await
});
executor!(&'c mut Transaction, self, named: (&mut *self.transaction), unnamed(query): async move {
    self.transaction.fetch_many(Unnamed(query)).try_collect().await
});
