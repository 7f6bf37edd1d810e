//! Lists of ids as one parameter: SQLite binds no arrays, but reads JSON as a table.

use uuid::Uuid;

/// For `json_each`, each value to be taken by `unhex(value)`.
pub(super) fn json_of(ids: impl IntoIterator<Item = Uuid>) -> String {
    let ids: Vec<String> = ids.into_iter().map(hex).collect();
    format!("[{}]", ids.iter().map(|id| format!("\"{id}\"")).collect::<Vec<_>>().join(","))
}

/// Without hyphens, as `unhex` wants it.
pub(super) fn hex(id: Uuid) -> String {
    id.as_simple().to_string()
}
