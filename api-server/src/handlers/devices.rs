//! `/devices`: where my pushes go.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use shared_runtime::rejection::Rejection;
use shared_types::{DeviceId, ProblemCode};
use utoipa::ToSchema;

use super::store_failed;
use super::view::DeviceBody;
use crate::auth::Caller;
use crate::body::{JsonBody, path_segment};
use crate::state::State;
use crate::store::{DevicePlatform, DeviceTarget};

/// Devices of one user: each offline message makes a push for each of them.
const MAX_DEVICES: i64 = 20;
/// FCM's tokens are about 160 bytes long, its installation ids 22; neither length is promised.
const MAX_TARGET_BYTES: usize = 1_024;

/// Exactly one of the two targets.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PutDevice {
    platform: DevicePlatform,
    /// Firebase installation id, what FCM asks for since 2026.
    #[schema(min_length = 1, max_length = 1024)]
    installation_id: Option<String>,
    /// The older registration token.
    #[schema(min_length = 1, max_length = 1024)]
    registration_token: Option<String>,
}

/// Register a device, or give it another target.
///
/// A target that another user's device had leaves it: a phone that changes hands is not pushed to for both.
#[utoipa::path(
    put, path = "/devices/{deviceId}", tag = "devices", params(("deviceId" = String, Path)),
    request_body = PutDevice, responses((status = 200, description = "The device", body = DeviceBody)),
    security(("bearer" = []))
)]
pub async fn put_device(
    caller: Caller,
    request: HttpRequest,
    JsonBody(body): JsonBody<PutDevice>,
    state: web::Data<State>,
) -> Result<HttpResponse, Rejection> {
    let device: DeviceId = path_segment(&request, "deviceId")?;
    let target = match (body.installation_id, body.registration_token) {
        (Some(id), None) => DeviceTarget::Installation(checked_target("installationId", id)?),
        (None, Some(token)) => DeviceTarget::Registration(checked_target("registrationToken", token)?),
        _ => {
            let rule = "must be given, or registrationToken, and not both";
            return Err(Rejection::invalid_field("installationId", rule));
        }
    };
    let stored = state
        .store
        .put_device(&caller.user_id, &device, body.platform, &target, MAX_DEVICES)
        .await
        .map_err(store_failed)?;
    match stored {
        Some(device) => Ok(HttpResponse::Ok().json(DeviceBody::from(device))),
        None => Err(Rejection::new(
            ProblemCode::Conflict,
            format!("You have {MAX_DEVICES} devices: remove one first."),
        )),
    }
}

fn checked_target(field: &str, target: String) -> Result<String, Rejection> {
    let is_right =
        (1..=MAX_TARGET_BYTES).contains(&target.len()) && target.bytes().all(|b| b.is_ascii_graphic());
    if is_right {
        Ok(target)
    } else {
        Err(Rejection::invalid_field(field, "must be 1 to 1,024 printable ASCII characters without spaces"))
    }
}

#[derive(Serialize, ToSchema)]
pub struct Devices {
    devices: Vec<DeviceBody>,
}

/// List my devices.
#[utoipa::path(
    get, path = "/devices", tag = "devices",
    responses((status = 200, description = "All of them", body = Devices)),
    security(("bearer" = []))
)]
pub async fn list_devices(caller: Caller, state: web::Data<State>) -> Result<HttpResponse, Rejection> {
    let devices = state.store.devices(&caller.user_id).await.map_err(store_failed)?;
    Ok(HttpResponse::Ok().json(Devices { devices: devices.into_iter().map(Into::into).collect() }))
}

/// Remove a device.
#[utoipa::path(
    delete, path = "/devices/{deviceId}", tag = "devices", params(("deviceId" = String, Path)),
    responses(
        (status = 204, description = "It is pushed to no more"),
        (status = 404, description = "The caller has no such device", body = shared_types::Problem),
    ),
    security(("bearer" = []))
)]
pub async fn delete_device(
    caller: Caller,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Rejection> {
    let device: DeviceId = path_segment(&request, "deviceId")?;
    match state.store.delete_device(&caller.user_id, &device).await.map_err(store_failed)? {
        true => Ok(HttpResponse::NoContent().finish()),
        false => Err(Rejection::new(ProblemCode::NotFound, "You have no such device.")),
    }
}
