//! References to an address space that are no user's own and no borrow's: who took them, and who gave them
//! back.

use trace_format::Kind;

use crate::events::Event;

/// A unit of `mm_users` or of `mm_count`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hold {
    /// Of which address space.
    pub mm: u64,
    /// [`Kind::Users`] or [`Kind::Count`].
    pub of: Kind,
    /// The task that took it.
    pub tid: u32,
    /// When.
    pub from: u64,
    /// When it was given back, and by which task. A unit of `mm_users` that another task gives back is not told
    /// from that task's own: then there is none.
    pub to: Option<(u64, u32)>,
}

#[derive(Default)]
pub(super) struct Reader {
    pub holds: Vec<Hold>,
}

impl Reader {
    pub fn take(&mut self, event: &Event) {
        let (body, time) = (event.record.body, event.record.time);
        let (Kind::Users | Kind::Count, 0 | 1) = (body.kind, body.sub) else { return };
        if body.sub == 0 {
            self.holds.push(Hold { mm: body.mm, of: body.kind, tid: body.other, from: time, to: None });
            return;
        }
        let open = |hold: &Hold| (hold.mm, hold.of, hold.to) == (body.mm, body.kind, None);
        let own = self.holds.iter().rposition(|hold| open(hold) && hold.tid == body.other);
        let handed = || self.holds.iter().position(|hold| open(hold) && body.kind == Kind::Count);
        if let Some(place) = own.or_else(handed) {
            self.holds[place].to = Some((time, body.other));
        }
    }
}
