//! What the two databases keep in columns of different types; in the program it is one type each.

use std::borrow::Cow;

use shared_types::{Timestamp, UserId};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::{Database, Decode, Encode, Postgres, Sqlite, Type};

/// `timestamptz` in Postgres; in SQLite, which has no such type, an integer: milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(pub(super) Timestamp);

/// `text[]` in Postgres; in SQLite, which has no arrays, a JSON array.
#[derive(Debug)]
pub(super) struct UserIds(pub(super) Vec<UserId>);

type Datetime = chrono::DateTime<chrono::Utc>;

impl Moment {
    pub(super) fn now() -> Self {
        Self(Timestamp::now())
    }

    pub(super) fn as_millis(self) -> i64 {
        self.0.as_datetime().timestamp_millis()
    }
}

impl Type<Postgres> for Moment {
    fn type_info() -> <Postgres as Database>::TypeInfo {
        <Datetime as Type<Postgres>>::type_info()
    }

    fn compatible(column: &<Postgres as Database>::TypeInfo) -> bool {
        <Datetime as Type<Postgres>>::compatible(column)
    }
}

impl<'r> Decode<'r, Postgres> for Moment {
    fn decode(value: <Postgres as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Self(<Datetime as Decode<'r, Postgres>>::decode(value)?.into()))
    }
}

impl<'q> Encode<'q, Postgres> for Moment {
    fn encode_by_ref(
        &self,
        buffer: &mut <Postgres as Database>::ArgumentBuffer,
    ) -> Result<IsNull, BoxDynError> {
        <Datetime as Encode<'q, Postgres>>::encode_by_ref(&self.0.as_datetime(), buffer)
    }
}

impl Type<Sqlite> for Moment {
    fn type_info() -> <Sqlite as Database>::TypeInfo {
        <i64 as Type<Sqlite>>::type_info()
    }

    fn compatible(column: &<Sqlite as Database>::TypeInfo) -> bool {
        <i64 as Type<Sqlite>>::compatible(column)
    }
}

impl<'r> Decode<'r, Sqlite> for Moment {
    fn decode(value: <Sqlite as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
        let millis = <i64 as Decode<'r, Sqlite>>::decode(value)?;
        let moment = Datetime::from_timestamp_millis(millis).ok_or("a moment beyond all years")?;
        Ok(Self(moment.into()))
    }
}

impl<'q> Encode<'q, Sqlite> for Moment {
    fn encode_by_ref(
        &self,
        buffer: &mut <Sqlite as Database>::ArgumentBuffer,
    ) -> Result<IsNull, BoxDynError> {
        <i64 as Encode<'q, Sqlite>>::encode_by_ref(&self.as_millis(), buffer)
    }
}

impl Type<Postgres> for UserIds {
    fn type_info() -> <Postgres as Database>::TypeInfo {
        <Vec<String> as Type<Postgres>>::type_info()
    }

    fn compatible(column: &<Postgres as Database>::TypeInfo) -> bool {
        <Vec<String> as Type<Postgres>>::compatible(column)
    }
}

impl<'r> Decode<'r, Postgres> for UserIds {
    fn decode(value: <Postgres as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
        let ids = <Vec<String> as Decode<'r, Postgres>>::decode(value)?;
        Ok(Self(ids.into_iter().map(UserId::try_from).collect::<Result<_, _>>()?))
    }
}

impl<'q> Encode<'q, Postgres> for UserIds {
    fn encode_by_ref(
        &self,
        buffer: &mut <Postgres as Database>::ArgumentBuffer,
    ) -> Result<IsNull, BoxDynError> {
        let ids: Vec<&str> = self.0.iter().map(UserId::as_str).collect();
        <Vec<&str> as Encode<'_, Postgres>>::encode_by_ref(&ids, buffer)
    }
}

impl Type<Sqlite> for UserIds {
    fn type_info() -> <Sqlite as Database>::TypeInfo {
        <String as Type<Sqlite>>::type_info()
    }

    fn compatible(column: &<Sqlite as Database>::TypeInfo) -> bool {
        <String as Type<Sqlite>>::compatible(column)
    }
}

impl<'r> Decode<'r, Sqlite> for UserIds {
    fn decode(value: <Sqlite as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
        let json: Cow<'r, str> = <Cow<'r, str> as Decode<'r, Sqlite>>::decode(value)?;
        Ok(Self(serde_json::from_str(&json)?))
    }
}

impl<'q> Encode<'q, Sqlite> for UserIds {
    fn encode_by_ref(
        &self,
        buffer: &mut <Sqlite as Database>::ArgumentBuffer,
    ) -> Result<IsNull, BoxDynError> {
        <String as Encode<'q, Sqlite>>::encode(serde_json::to_string(&self.0)?, buffer)
    }
}
