//! Rows of `devices`.

use sqlx::FromRow;

use super::{corrupt, parsed};
use crate::store::columns::Moment;
use crate::store::{Device, DevicePlatform, DeviceTarget, StoreError};

pub(in crate::store) const DEVICE_COLUMNS: &str =
    "device_id, platform, installation_id, registration_token, updated_at, disabled_at, disabled_reason";

#[derive(FromRow)]
pub(in crate::store) struct DeviceRow {
    device_id: String,
    platform: String,
    installation_id: Option<String>,
    registration_token: Option<String>,
    updated_at: Moment,
    disabled_at: Option<Moment>,
    disabled_reason: Option<String>,
}

impl TryFrom<DeviceRow> for Device {
    type Error = StoreError;

    fn try_from(row: DeviceRow) -> Result<Self, StoreError> {
        Ok(Self {
            device_id: parsed(row.device_id)?,
            platform: parsed::<DevicePlatform>(row.platform)?,
            target: target(row.installation_id, row.registration_token)?,
            updated_at: row.updated_at.0,
            disabled_at: row.disabled_at.map(|moment| moment.0),
            disabled_reason: row.disabled_reason,
        })
    }
}

/// `installation_id` and `registration_token`; one of them is null.
pub(in crate::store) fn target_columns(target: &DeviceTarget) -> (Option<&str>, Option<&str>) {
    match target {
        DeviceTarget::Installation(id) => (Some(id), None),
        DeviceTarget::Registration(token) => (None, Some(token)),
    }
}

/// The one target that a device's row has.
pub(super) fn target(
    installation_id: Option<String>,
    registration_token: Option<String>,
) -> Result<DeviceTarget, StoreError> {
    match (installation_id, registration_token) {
        (Some(id), None) => Ok(DeviceTarget::Installation(id)),
        (None, Some(token)) => Ok(DeviceTarget::Registration(token)),
        _ => Err(corrupt("a device without exactly one target")),
    }
}
