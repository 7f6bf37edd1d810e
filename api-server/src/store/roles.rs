//! Who may change what about a channel: decided here for both databases, so that the editions cannot differ.

use super::{Change, ChannelKind, Role, Standing};

/// Why a change is not made.
pub(super) enum Denial {
    Unchanged,
    Forbidden(&'static str),
    Refused(&'static str),
}

impl From<Denial> for Change {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Unchanged => Self::Unchanged,
            Denial::Forbidden(rule) => Self::Forbidden(rule),
            Denial::Refused(rule) => Self::Refused(rule),
        }
    }
}

/// Who follows when a group's last owner is gone: the longest-standing admin, else the longest-standing member.
/// An `ORDER BY` over `participants` that both databases understand.
pub(super) const SUCCESSION: &str = "role = 'admin' DESC, joined_at, joined_seq, user_id";

pub(super) fn may_rename(standing: Standing, may_manage: bool) -> Result<(), Denial> {
    if standing.kind == ChannelKind::Direct {
        return Err(Denial::Refused("A direct channel has no name."));
    }
    manages(standing, may_manage, "Only an owner or admin of the channel may rename it.")
}

pub(super) fn may_add_members(standing: Standing, may_manage: bool) -> Result<(), Denial> {
    members_may_change(standing)?;
    manages(standing, may_manage, "Only an owner or admin of the channel may add members.")
}

/// Only a service gets here without being in the group, and only into a group that everyone may have left.
pub(super) fn may_be_adding_to_nobody(standing: Standing) -> bool {
    standing.role.is_none()
}

/// `removed` is the role of the one to remove, who is there; answers it.
pub(super) fn may_remove(
    standing: Standing,
    may_manage: bool,
    is_self: bool,
    removed: Option<Role>,
) -> Result<Role, Denial> {
    members_may_change(standing)?;
    let Some(removed) = removed else { return Err(Denial::Unchanged) };
    let outranks = match standing.role {
        Some(Role::Owner) => true,
        Some(Role::Admin) => removed == Role::Member,
        Some(Role::Member) | None => false,
    };
    if may_manage || is_self || outranks {
        Ok(removed)
    } else {
        Err(Denial::Forbidden("Only an owner may remove anyone, and an admin may remove members."))
    }
}

pub(super) fn may_set_role(standing: Standing, may_manage: bool) -> Result<(), Denial> {
    if standing.kind == ChannelKind::Direct {
        return Err(Denial::Refused("The participants of a direct channel have no roles."));
    }
    if !may_manage && standing.role != Some(Role::Owner) {
        return Err(Denial::Forbidden("Only an owner of the channel may change roles."));
    }
    Ok(())
}

/// Asked after a role has changed and before that is committed.
pub(super) fn still_owned(owners: i64) -> Result<(), Denial> {
    if owners == 0 {
        return Err(Denial::Refused("A channel needs an owner: give someone else the role first."));
    }
    Ok(())
}

fn members_may_change(standing: Standing) -> Result<(), Denial> {
    match standing.kind {
        ChannelKind::Direct => Err(Denial::Refused("A direct channel's two participants do not change.")),
        ChannelKind::Group => Ok(()),
    }
}

fn manages(standing: Standing, may_manage: bool, rule: &'static str) -> Result<(), Denial> {
    if may_manage || standing.role.is_some_and(Role::manages) { Ok(()) } else { Err(Denial::Forbidden(rule)) }
}
