//! What leaves contacts out beside what is wrong with them: decided in the database, for each contact as it
//! is read.

use chrono::{DateTime, TimeDelta, Utc};
use fanfare_domain::state::{Category, Consent};
use sqlx::PgConnection;

use crate::pepper::{Pepper, hash_sql};
use crate::segments::{Bound, Query};
use crate::suppressions::{any_by_account, any_erased};
use crate::{Result, workspaces};

/// What leaves contacts out. The default leaves none out.
#[derive(Clone, Default)]
pub struct Filter {
    /// Lists whose contacts are left out.
    pub minus: Vec<i64>,
    /// What must hold for a contact.
    pub segment: Option<Bound>,
    /// Whether a contact must have opted in.
    pub needs_consent: bool,
    /// How many marketing messages a contact may have had.
    pub cap: Option<Cap>,
    /// The campaign and the run, where a contact is left out whom another run of the campaign reaches.
    pub reached: Option<(i64, i64)>,
    /// The accounts that the messages may go through: those suppressed for one of them are suppressed.
    pub accounts: Vec<i64>,
    /// Knows erased addresses again, where there are any.
    pub pepper: Option<Pepper>,
    /// From when spans of time count back.
    pub now: DateTime<Utc>,
}

/// How many marketing messages a contact may have had since a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cap {
    /// With so many it gets no more.
    pub messages: i32,
    /// Those sent since then, and those that may be sent yet.
    pub since: DateTime<Utc>,
}

/// Why the database leaves a contact out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub enum Barred {
    /// It is on a list that is left out.
    Minus = 1,
    /// The expression does not hold for it.
    Outside = 2,
    /// It has not opted in.
    NoConsent = 3,
    /// It has had as many marketing messages as a contact may.
    Capped = 4,
    /// Another run of the campaign has reached it, or may.
    Reached = 5,
}

impl Barred {
    pub(super) fn from_i16(n: i16) -> Option<Self> {
        let all = [Self::Minus, Self::Outside, Self::NoConsent, Self::Capped, Self::Reached];
        all.into_iter().find(|barred| *barred as i16 == n)
    }
}

/// Whom a campaign goes to.
#[derive(Debug, Clone, Copy)]
pub struct Whom<'a> {
    /// Lists whose contacts are left out.
    pub minus: &'a [i64],
    /// What must hold for a contact.
    pub segment: Option<&'a Bound>,
    /// What the campaign is for.
    pub category: Category,
    /// The accounts that it may go through.
    pub accounts: &'a [i64],
    /// From when spans of time count back.
    pub now: DateTime<Utc>,
}

impl Filter {
    /// What leaves contacts of a campaign out: its own choice, the rules of its workspace, and what is
    /// suppressed for one account only, or was erased.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn of(c: &mut PgConnection, pepper: &Pepper, workspace_id: i32, whom: Whom<'_>) -> Result<Self> {
        let Whom { minus, segment, category, accounts, now } = whom;
        let (marketing, rules) = (category == Category::Marketing, workspaces::rules(c, workspace_id).await?);
        let cap = rules.cap.filter(|_| marketing).map(|cap| Cap {
            messages: cap.messages,
            since: now.checked_sub_signed(TimeDelta::hours(i64::from(cap.hours))).unwrap_or(DateTime::UNIX_EPOCH),
        });
        let by_account = any_by_account(c, workspace_id, accounts).await?;
        Ok(Self {
            minus: minus.to_vec(),
            segment: segment.cloned(),
            needs_consent: marketing && rules.consent == Consent::Required,
            cap,
            reached: None,
            accounts: if by_account { accounts.to_vec() } else { Vec::new() },
            pepper: any_erased(c, workspace_id).await?.then(|| pepper.clone()),
            now,
        })
    }

    /// Whether it leaves nobody out.
    pub(super) fn is_empty(&self) -> bool {
        self.minus.is_empty()
            && self.segment.is_none()
            && !self.needs_consent
            && self.cap.is_none()
            && self.reached.is_none()
            && self.accounts.is_empty()
            && self.pepper.is_none()
    }

    /// Appends whether the contact `c` is suppressed at `address`.
    pub(crate) fn push_suppressed(&self, q: &mut Query, workspace_id: i32, address: &str) {
        let mut accounts = self.accounts.clone();
        accounts.push(crate::suppressions::EVERYWHERE);
        let among = |q: &mut Query, address: &str| {
            q.push("(select true from suppression s where s.workspace_id = ").push_bind(workspace_id);
            q.push(" and s.address = ").push(address).push(" and s.account_id = any (");
            q.push_bind(accounts.clone()).push(") limit 1)");
        };
        q.push("coalesce(");
        among(q, address);
        if let Some(pepper) = &self.pepper {
            let (inner, outer) = pepper.pads();
            q.push(", (select true from suppression s, (select ").push_bind(inner).push("::bytea as i, ");
            q.push_bind(outer).push("::bytea as o) k where s.workspace_id = ").push_bind(workspace_id);
            q.push(" and s.address = ").push(hash_sql(address, "k.i", "k.o", &workspace_id.to_string()));
            q.push(" and s.account_id = any (").push_bind(accounts).push(") limit 1)");
        }
        q.push(", false)");
    }

    /// Appends why the contact `c` is left out, as the number of a [`Barred`]; null when it is not. What
    /// takes longest comes last, and is not looked at when something before it holds.
    pub(crate) fn push_barred(&self, q: &mut Query, workspace_id: i32, mailbox: Option<&str>) {
        q.push("(case");
        if !self.minus.is_empty() {
            q.push(" when (select true from contact d where d.workspace_id = ").push_bind(workspace_id);
            q.push(" and d.list_id = any (").push_bind(self.minus.clone());
            q.push(") and d.address in (c.address");
            q.push(mailbox.map(|m| format!(", {m}")).unwrap_or_default()).push(") limit 1)");
            if let Some(mailbox) = mailbox {
                q.push(" or (select true from contact d where d.workspace_id = ").push_bind(workspace_id);
                q.push(" and d.list_id = any (").push_bind(self.minus.clone());
                q.push(") and d.email = ").push(mailbox).push(" limit 1)");
            }
            q.push(" then ").push(Barred::Minus as i16);
        }
        if let Some(segment) = &self.segment {
            q.push(" when not (");
            segment.push(q, workspace_id, self.now);
            q.push(") then ").push(Barred::Outside as i16);
        }
        if self.needs_consent {
            q.push(" when c.consent <> 1 then ").push(Barred::NoConsent as i16);
        }
        if let Some((campaign_id, run_id)) = self.reached {
            q.push(" when reached(").push_bind(workspace_id).push(", ").push_bind(campaign_id).push(", ");
            q.push_bind(run_id).push(", ").push(mailbox.unwrap_or("c.address")).push(") then ");
            q.push(Barred::Reached as i16);
        }
        if let Some(cap) = self.cap {
            q.push(" when ");
            cap.push(q, workspace_id);
            q.push(" then ").push(Barred::Capped as i16);
        }
        // A case without a condition is none.
        q.push(" when false then 0 end)::smallint");
    }
}

impl Cap {
    /// Appends whether the contact `c` has had as many. A message counts that was sent since then, that may
    /// have been, or that may be sent yet.
    fn push(self, q: &mut Query, workspace_id: i32) {
        q.push("(select count(*) from (select from recipient r join run u on u.workspace_id = r.workspace_id");
        q.push(" and u.run_id = r.run_id join campaign k on k.workspace_id = u.workspace_id");
        q.push(" and k.campaign_id = u.campaign_id and k.category = 1 where r.workspace_id = ");
        q.push_bind(workspace_id).push(" and r.address collate \"C\" = any (array[c.address, c.email])");
        q.push(" and (u.finished_at is null or u.finished_at >= ").push_bind(self.since).push(") and (exists (");
        q.push("select from outcome o where o.workspace_id = r.workspace_id and o.run_id = r.run_id and o.seq = r.seq");
        q.push(" and o.class in (1, 6, 9) and o.at >= ").push_bind(self.since);
        q.push(") or u.state <= 4 and not exists (");
        q.push("select from outcome o where o.workspace_id = r.workspace_id and o.run_id = r.run_id and o.seq = r.seq");
        q.push(" and o.class in (1, 2, 3, 6, 7, 8, 9))) limit ").push_bind(i64::from(self.messages));
        q.push(") had) >= ").push_bind(i64::from(self.messages));
    }
}

/// Whether an address is suppressed, and why the rules leave it out, for a message that goes to no list. It has
/// opted in if a contact of any list has.
///
/// # Errors
/// When the database fails.
pub async fn one(
    c: &mut PgConnection,
    workspace_id: i32,
    filter: &Filter,
    address: &str,
) -> Result<(bool, Option<Barred>)> {
    let mut q = Query::new("-- one\n select ");
    filter.push_suppressed(&mut q, workspace_id, "c.address");
    q.push(", ");
    filter.push_barred(&mut q, workspace_id, None);
    q.push(" from (select ")
        .push_bind(address)
        .push("::text collate \"C\" as address, null::text collate \"C\" as email,");
    q.push(" coalesce((select max(x.consent) from list l join contact x on x.workspace_id = l.workspace_id");
    q.push(" and x.list_id = l.list_id and (x.address = ").push_bind(address).push(" or x.email = ").push_bind(address);
    q.push(") where l.workspace_id = ").push_bind(workspace_id).push("), 0) as consent) c");
    let (suppressed, barred): (bool, Option<i16>) = q.build_query_as().fetch_one(c).await?;
    Ok((suppressed, barred.and_then(Barred::from_i16)))
}
