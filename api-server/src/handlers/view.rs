//! Answers' JSON for channels, members and devices.

use serde::Serialize;
use shared_types::{Entry, Seq};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::store::{ChannelKind, ChannelView, Device, DevicePlatform, DeviceTarget, Member, Role};

/// A channel as the caller sees it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Channel)]
pub struct ChannelBody {
    pub id: Uuid,
    pub kind: ChannelKind,
    /// `null` for a direct channel and for a group without one.
    pub name: Option<String>,
    /// `seq` of the newest entry; 0 while there is none.
    pub last_seq: Seq,
    /// The caller's read cursor.
    pub read_seq: Seq,
    /// Messages of others after `readSeq`.
    pub unread_count: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<EntrySchema>)]
    pub last_message: Option<Entry>,
    pub member_count: i64,
    #[schema(format = DateTime, value_type = String)]
    pub updated_at: String,
}

impl From<ChannelView> for ChannelBody {
    fn from(view: ChannelView) -> Self {
        Self {
            id: view.id.0,
            kind: view.kind,
            name: view.name,
            last_seq: view.last_seq,
            read_seq: view.read_seq,
            unread_count: view.unread_count,
            last_message: view.last_message,
            member_count: view.member_count,
            updated_at: view.updated_at.to_string(),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Member)]
pub struct MemberBody {
    pub user_id: String,
    pub role: Role,
    #[schema(format = DateTime)]
    pub joined_at: String,
    /// Up to here everything is on at least one device of the member that acks.
    pub delivered_seq: Seq,
    pub read_seq: Seq,
}

impl From<Member> for MemberBody {
    fn from(member: Member) -> Self {
        Self {
            user_id: member.user_id.to_string(),
            role: member.role,
            joined_at: member.joined_at.to_string(),
            delivered_seq: member.delivered_seq,
            read_seq: member.read_seq,
        }
    }
}

/// A device; which kind of target it has, never the target itself.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Device)]
pub struct DeviceBody {
    pub device_id: String,
    pub platform: DevicePlatform,
    /// `installationId` or `registrationToken`.
    pub target: &'static str,
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// Set once the push service has said that the target is gone; registering it again clears it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub disabled_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled_reason: Option<String>,
}

impl From<Device> for DeviceBody {
    fn from(device: Device) -> Self {
        Self {
            device_id: device.device_id.to_string(),
            platform: device.platform,
            target: match device.target {
                DeviceTarget::Installation(_) => "installationId",
                DeviceTarget::Registration(_) => "registrationToken",
            },
            updated_at: device.updated_at.to_string(),
            disabled_at: device.disabled_at.map(|at| at.to_string()),
            disabled_reason: device.disabled_reason,
        }
    }
}

/// For the OpenAPI document only: entries write themselves.
#[derive(ToSchema)]
#[schema(as = Entry, rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the JSON that shared_types::Entry writes")]
pub struct EntrySchema {
    /// `message`, `memberJoined`, `memberLeft` or `channelRenamed`; skip what you do not know.
    r#type: String,
    id: Uuid,
    channel_id: Uuid,
    /// Position in the channel's log: from 1, without gaps.
    seq: i64,
    sender_id: String,
    #[schema(format = DateTime)]
    created_at: String,
    /// Of a message.
    kind: Option<String>,
    /// Of a message.
    content: Option<String>,
    /// Of a message: the sender's JSON object.
    #[schema(value_type = Option<Object>)]
    metadata: Option<()>,
    /// Of a message, if its sender gave one.
    client_message_id: Option<String>,
    /// Of `memberJoined` and `memberLeft`.
    user_ids: Option<Vec<String>>,
    /// Of `channelRenamed`.
    name: Option<String>,
}
