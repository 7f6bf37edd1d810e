//! What lies in Redis: every key and every value of the session registry.
//!
//! | key | value | ends |
//! |---|---|---|
//! | `{prefix}:user:{userId}` | ids of the gateways that hold a session of the user, comma-separated; empty: just left, expected back | with its last session, or its TTL |
//! | `{prefix}:gateway:{gatewayId}` | [`Lease`] as JSON | TTL, renewed while the gateway lives |
//! | `{prefix}:gateways` | set of gateway ids that may have a lease | never; api-servers remove those without a lease |
//! | `{prefix}:ticket:{ticket}` | [`TicketGrant`] as JSON | first use, or its TTL |
//!
//! In a Redis Cluster the keys are spread over the slots: no command names two of them, and no promise depends on two
//! of them being on the same node.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{GatewayId, UserId};

/// A gateway that does not renew is dead after this long.
pub const LEASE_TTL: Duration = Duration::from_secs(10);
/// Three chances before the lease ends.
pub const LEASE_RENEWAL: Duration = Duration::from_secs(3);
/// What a crashed gateway leaves behind vanishes after this long; live sessions are claimed anew well before.
pub const USER_ENTRY_TTL: Duration = Duration::from_secs(3 * 3600);
/// How often a gateway claims all its sessions anew.
pub const USER_ENTRY_RENEWAL: Duration = Duration::from_secs(3600);
/// How long after a session was lost its client is expected back: clients come again within a second or two of a
/// drain or a lost connection, and a push about what they are about to read would only annoy.
pub const RETURN_TIME: Duration = Duration::from_secs(5);
/// How long a ticket is good for.
pub const TICKET_TTL: Duration = Duration::from_secs(30);

/// Builds every key; the prefix keeps deployments (and tests) that share a Redis apart.
#[derive(Debug, Clone)]
pub struct RegistryKeys {
    prefix: String,
    users: String,
}

impl RegistryKeys {
    pub fn new(prefix: impl Into<String>) -> Self {
        let prefix = prefix.into();
        Self { users: format!("{prefix}:user:"), prefix }
    }

    pub fn user(&self, user_id: &UserId) -> String {
        [self.users(), user_id.as_str()].concat()
    }

    /// What the key of every user begins with; the user's id follows. A look-up writes both into its command, without
    /// a string for each recipient of each entry.
    pub fn users(&self) -> &str {
        &self.users
    }

    pub fn lease(&self, gateway_id: &GatewayId) -> String {
        format!("{}:gateway:{gateway_id}", self.prefix)
    }

    pub fn gateways(&self) -> String {
        format!("{}:gateways", self.prefix)
    }

    pub fn ticket(&self, ticket: &str) -> String {
        format!("{}:ticket:{ticket}", self.prefix)
    }
}

/// What a gateway says of itself while it lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// How api-servers reach its internal listener.
    pub url: String,
    /// What `POST /connect` hands to clients.
    pub public_url: String,
    /// Sessions that it holds: its load.
    pub sessions: u64,
    pub is_draining: bool,
}

/// Whom a ticket lets in, and until when the session may last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TicketGrant {
    pub user_id: UserId,
    /// Expiry of the token that asked for the ticket, in seconds since 1970.
    pub expires_at: u64,
}

/// The gateways named by a user's entry. Unknown syntax is skipped, not an error: it names nobody.
pub fn parse_user_entry(entry: &str) -> impl Iterator<Item = GatewayId> + '_ {
    entry.split(',').filter_map(|id| id.parse().ok())
}

/// Lua: adds gateway `ARGV[1]` to the user's entry `KEYS[1]` and sets its TTL to `ARGV[2]` ms.
pub const CLAIM_SCRIPT: &str = r"
local entry = redis.call('GET', KEYS[1])
if not entry or entry == '' then
  entry = ARGV[1]
elseif not string.find(',' .. entry .. ',', ',' .. ARGV[1] .. ',', 1, true) then
  entry = entry .. ',' .. ARGV[1]
end
redis.call('SET', KEYS[1], entry, 'PX', ARGV[2])
return entry";

/// Lua: removes gateway `ARGV[1]`, and nothing else, from the user's entry `KEYS[1]`. When nobody else is left and
/// `ARGV[2]` is more than 0, an empty entry stays for that many ms.
pub const RELEASE_SCRIPT: &str = r"
local entry = redis.call('GET', KEYS[1])
if not entry then return 0 end
local kept, found = {}, 0
for id in string.gmatch(entry, '[^,]+') do
  if id == ARGV[1] then found = 1 else kept[#kept + 1] = id end
end
if found == 0 then return 0 end
if #kept == 0 and tonumber(ARGV[2]) > 0 then
  redis.call('SET', KEYS[1], '', 'PX', ARGV[2])
elseif #kept == 0 then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], table.concat(kept, ','), 'KEEPTTL')
end
return 1";
