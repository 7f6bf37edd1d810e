//! Lists of ids as one parameter: SQLite binds no arrays, but reads JSON as a table.

use shared_types::{ChannelId, Seq, UserId};
use uuid::Uuid;

use crate::store::StoreError;
use crate::store::rows::corrupt;

/// For `json_each`, each value to be taken by `unhex(value)`.
pub(super) fn json_of(ids: impl IntoIterator<Item = Uuid>) -> String {
    let ids: Vec<String> = ids.into_iter().map(hex).collect();
    format!("[{}]", ids.iter().map(|id| format!("\"{id}\"")).collect::<Vec<_>>().join(","))
}

/// Without hyphens, as `unhex` wants it.
pub(super) fn hex(id: Uuid) -> String {
    id.as_simple().to_string()
}

/// For `json_each`: user, channel (to be taken by `unhex`) and `seq`.
pub(super) fn json_of_cursors<'a>(
    cursors: impl IntoIterator<Item = (&'a UserId, ChannelId, Seq)>,
) -> Result<String, StoreError> {
    let cursors: Vec<(&str, String, Seq)> =
        cursors.into_iter().map(|(user, channel, seq)| (user.as_str(), hex(channel.0), seq)).collect();
    serde_json::to_string(&cursors).map_err(|error| corrupt(&format!("a cursor: {error}")))
}
