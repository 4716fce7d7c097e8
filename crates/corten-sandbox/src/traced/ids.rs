//! Who a thread is told that it is. All of them run as the one user there is.

use std::sync::Arc;

use rustix::io::Errno;

/// Users and groups of a thread, and the capabilities that it believes to have: credentials(7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) user: Three,
    pub(crate) group: Three,
    pub(crate) fs_uid: u32,
    pub(crate) fs_gid: u32,
    /// Every thread has them, and there may be many.
    pub(crate) groups: Arc<[u32]>,
    pub(crate) permitted: u64,
    pub(crate) effective: u64,
    pub(crate) inheritable: u64,
    pub(crate) bounding: u64,
    pub(crate) keeps_caps: bool,
}

/// The real, effective and saved id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Three {
    pub(crate) real: u32,
    pub(crate) effective: u32,
    pub(crate) saved: u32,
}

/// What a call says of an id that it leaves as it is.
const SAME: u32 = u32::MAX;

const CAP_SETGID: u64 = 1 << 6;
const CAP_SETUID: u64 = 1 << 7;
const CAP_SETFCAP: u64 = 1 << 31;
/// `CAP_CHOWN`, `DAC_OVERRIDE`, `DAC_READ_SEARCH`, `FOWNER` and `FSETID`.
const OF_FILES: u64 = 0b1_1111;

impl Three {
    pub(crate) fn all(id: u32) -> Self {
        Self {
            real: id,
            effective: id,
            saved: id,
        }
    }

    fn holds(self, id: u32) -> bool {
        [self.real, self.effective, self.saved].contains(&id)
    }

    /// `setuid` and `setgid`.
    fn set(&mut self, id: u32, is_privileged: bool) -> Result<(), Errno> {
        if is_privileged {
            *self = Self::all(id);
        } else if id == self.real || id == self.saved {
            self.effective = id;
        } else {
            return Err(Errno::PERM);
        }
        Ok(())
    }

    /// `setreuid` and `setregid`.
    fn set_two(&mut self, real: u32, effective: u32, is_privileged: bool) -> Result<(), Errno> {
        let before = *self;
        if !is_privileged {
            if real != SAME && real != before.real && real != before.effective {
                return Err(Errno::PERM);
            }
            if effective != SAME && !before.holds(effective) {
                return Err(Errno::PERM);
            }
        }
        if real != SAME {
            self.real = real;
        }
        if effective != SAME {
            self.effective = effective;
        }
        if real != SAME || (effective != SAME && effective != before.real) {
            self.saved = self.effective;
        }
        Ok(())
    }

    /// `setresuid` and `setresgid`.
    fn set_three(&mut self, wanted: [u32; 3], is_privileged: bool) -> Result<(), Errno> {
        let before = *self;
        if !is_privileged && wanted.iter().any(|&id| id != SAME && !before.holds(id)) {
            return Err(Errno::PERM);
        }
        let places = [&mut self.real, &mut self.effective, &mut self.saved];
        for (place, id) in places.into_iter().zip(wanted) {
            if id != SAME {
                *place = id;
            }
        }
        Ok(())
    }
}

impl Ids {
    /// Whoever begins: root with `capabilities`, or a user without.
    pub(crate) fn new(uid: u32, gid: u32, groups: Vec<u32>, capabilities: u64) -> Self {
        let held = if uid == 0 { capabilities } else { 0 };
        Self {
            user: Three::all(uid),
            group: Three::all(gid),
            fs_uid: uid,
            fs_gid: gid,
            groups: groups.into(),
            permitted: held,
            effective: held,
            inheritable: 0,
            bounding: capabilities,
            keeps_caps: false,
        }
    }

    /// Whether it may do with files what root may.
    pub(crate) fn overrides(&self) -> bool {
        self.effective & OF_FILES != 0
    }

    /// Whether it may give capabilities to executables.
    pub(crate) fn may_set_capabilities(&self) -> bool {
        self.effective & CAP_SETFCAP != 0
    }

    pub(crate) fn is_in_group(&self, gid: u32) -> bool {
        self.fs_gid == gid || self.groups.contains(&gid)
    }

    fn may_set_users(&self) -> bool {
        self.effective & CAP_SETUID != 0
    }

    fn may_set_groups(&self) -> bool {
        self.effective & CAP_SETGID != 0
    }

    pub(crate) fn set_uid(&mut self, uid: u32) -> Result<(), Errno> {
        let (before, is_privileged) = (self.user, self.may_set_users());
        self.user.set(valid(uid)?, is_privileged)?;
        self.after_users(before);
        Ok(())
    }

    pub(crate) fn set_reuid(&mut self, real: u32, effective: u32) -> Result<(), Errno> {
        let (before, is_privileged) = (self.user, self.may_set_users());
        self.user.set_two(real, effective, is_privileged)?;
        self.after_users(before);
        Ok(())
    }

    pub(crate) fn set_resuid(&mut self, wanted: [u32; 3]) -> Result<(), Errno> {
        let (before, is_privileged) = (self.user, self.may_set_users());
        self.user.set_three(wanted, is_privileged)?;
        self.after_users(before);
        Ok(())
    }

    pub(crate) fn set_gid(&mut self, gid: u32) -> Result<(), Errno> {
        let is_privileged = self.may_set_groups();
        self.group.set(valid(gid)?, is_privileged)?;
        self.fs_gid = self.group.effective;
        Ok(())
    }

    pub(crate) fn set_regid(&mut self, real: u32, effective: u32) -> Result<(), Errno> {
        let is_privileged = self.may_set_groups();
        self.group.set_two(real, effective, is_privileged)?;
        self.fs_gid = self.group.effective;
        Ok(())
    }

    pub(crate) fn set_resgid(&mut self, wanted: [u32; 3]) -> Result<(), Errno> {
        let is_privileged = self.may_set_groups();
        self.group.set_three(wanted, is_privileged)?;
        self.fs_gid = self.group.effective;
        Ok(())
    }

    /// Returns the id before, as setfsuid(2) does whatever comes of it.
    pub(crate) fn set_fs_uid(&mut self, uid: u32) -> u32 {
        let before = self.fs_uid;
        let is_allowed = self.user.holds(uid) || uid == before || self.may_set_users();
        if uid != SAME && is_allowed {
            self.fs_uid = uid;
        }
        before
    }

    pub(crate) fn set_fs_gid(&mut self, gid: u32) -> u32 {
        let before = self.fs_gid;
        let is_allowed = self.group.holds(gid) || gid == before || self.may_set_groups();
        if gid != SAME && is_allowed {
            self.fs_gid = gid;
        }
        before
    }

    pub(crate) fn set_groups(&mut self, groups: Vec<u32>) -> Result<(), Errno> {
        if !self.may_set_groups() {
            return Err(Errno::PERM);
        }
        self.groups = groups.into();
        Ok(())
    }

    /// `capset`, which gives nobody more.
    pub(crate) fn set_capabilities(
        &mut self,
        effective: u64,
        permitted: u64,
        inheritable: u64,
    ) -> Result<(), Errno> {
        let gains = permitted & !self.permitted != 0 || effective & !permitted != 0;
        if gains || inheritable & !(self.inheritable | self.bounding) != 0 {
            return Err(Errno::PERM);
        }
        (self.effective, self.permitted, self.inheritable) = (effective, permitted, inheritable);
        Ok(())
    }

    /// What execve(2) makes of it: root gets what is in its bounding set. A set-id bit counts, since it
    /// changes only what is told.
    pub(crate) fn execute(&mut self, set_uid: Option<u32>, set_gid: Option<u32>) {
        if let Some(uid) = set_uid {
            self.user.effective = uid;
        }
        if let Some(gid) = set_gid {
            self.group.effective = gid;
        }
        self.user.saved = self.user.effective;
        self.group.saved = self.group.effective;
        self.fs_uid = self.user.effective;
        self.fs_gid = self.group.effective;
        self.keeps_caps = false;
        self.permitted = if self.user.effective == 0 || self.user.real == 0 {
            self.bounding
        } else {
            0
        };
        self.effective = if self.user.effective == 0 {
            self.permitted
        } else {
            0
        };
    }

    /// capabilities(7), "Effect of user ID changes on capabilities".
    fn after_users(&mut self, before: Three) {
        let now = self.user;
        self.fs_uid = now.effective;
        if before.holds(0) && !now.holds(0) && !self.keeps_caps {
            self.permitted = 0;
        }
        if before.effective == 0 && now.effective != 0 {
            self.effective = 0;
        }
        if before.effective != 0 && now.effective == 0 {
            self.effective = self.permitted;
        }
        self.effective &= self.permitted;
    }
}

fn valid(id: u32) -> Result<u32, Errno> {
    if id == SAME {
        Err(Errno::INVAL)
    } else {
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Ids {
        Ids::new(0, 0, Vec::new(), u64::MAX >> 20)
    }

    #[test]
    fn root_becomes_somebody_for_good() {
        let mut ids = root();
        ids.set_groups(vec![7]).unwrap();
        ids.set_gid(7).unwrap();
        ids.set_uid(7).unwrap();
        assert_eq!((ids.user, ids.group), (Three::all(7), Three::all(7)));
        assert_eq!((ids.permitted, ids.fs_uid, ids.fs_gid), (0, 7, 7));
        assert_eq!(ids.set_uid(0), Err(Errno::PERM));
        assert_eq!(ids.set_groups(Vec::new()), Err(Errno::PERM));
    }

    #[test]
    fn an_effective_id_can_come_back() {
        let mut ids = root();
        ids.set_resuid([SAME, 7, SAME]).unwrap();
        assert_eq!((ids.effective, ids.overrides()), (0, false));
        ids.set_resuid([SAME, 0, SAME]).unwrap();
        assert!(ids.overrides());
    }

    #[test]
    fn a_set_id_bit_gives_what_it_gave() {
        let mut ids = root();
        ids.set_uid(7).unwrap();
        ids.execute(Some(0), None);
        assert_eq!((ids.user.real, ids.user.effective), (7, 0));
        assert!(ids.overrides());
        ids.set_uid(0).unwrap();
        assert_eq!(ids.user, Three::all(0));
    }
}
