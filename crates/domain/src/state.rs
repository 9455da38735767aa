//! States of runs and messages, and the policies a campaign chooses.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Declares an enum that is stored as a number and written in words.
macro_rules! stored {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $n:literal $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[repr(i16)]
        pub enum $name { $($(#[$vdoc])* $variant = $n),+ }

        impl $name {
            /// All of them, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The stored number.
            pub fn as_i16(self) -> i16 { self as i16 }

            /// The value of a stored number.
            pub fn from_i16(n: i16) -> Option<Self> {
                Self::ALL.iter().copied().find(|v| v.as_i16() == n)
            }

            /// As written on the command line and in JSON.
            pub fn as_str(self) -> &'static str { match self { $(Self::$variant => $word),+ } }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.as_str()) }
        }

        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|v| v.as_str() == text).ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|v| v.as_str()).collect();
                    format!("{} {text:?} is none of {}", $what, known.join(", "))
                })
            }
        }
    };
}

stored! {
    /// State of a run. See DATA_MODEL.md for the machine.
    RunState, "state" {
        /// Waits for its time.
        Scheduled = 1 "scheduled",
        /// Expanding, sending, or both.
        Running = 2 "running",
        /// Sends nothing until resumed.
        Paused = 3 "paused",
        /// Sends nothing more; what is in flight is being settled.
        Cancelling = 4 "cancelling",
        /// Every message is in a final class.
        Finished = 5 "finished",
        /// Cancelled, and every message is in a final class.
        Cancelled = 6 "cancelled",
    }
}

stored! {
    /// How a campaign comes by its messages.
    CampaignKind, "kind" {
        /// By launches, each to its audience.
        Broadcast = 1 "broadcast",
        /// One by one, for as long as it is live.
        Triggered = 2 "triggered",
        /// One by one, of no campaign that anybody has named: one template through one account.
        Single = 3 "single",
    }
}

stored! {
    /// Why there is a run.
    RunKind, "kind" {
        /// A person launched the campaign.
        Launch = 1 "launch",
        /// A tick of its schedule.
        Tick = 2 "tick",
        /// A step after another run.
        FollowUp = 3 "follow_up",
        /// Once more to some of another run.
        Resend = 4 "resend",
        /// What a first part left.
        Rest = 5 "rest",
        /// Messages come one by one, until it is stopped.
        Live = 6 "live",
    }
}

stored! {
    /// Whether a campaign may be launched, where that has to be approved. No number of a [`RunState`].
    Approval, "state" {
        /// Being written.
        Draft = 11 "draft",
        /// Waits for somebody to approve it.
        Review = 12 "review",
        /// May be launched.
        Approved = 13 "approved",
        /// Sent back, with a comment.
        Refused = 14 "refused",
    }
}

stored! {
    /// By what the best of several arms is found.
    Measure, "measure" {
        /// The part of those sent that was delivered.
        Delivered = 1 "delivered",
        /// The part that was read.
        Read = 2 "read",
        /// The part that was answered.
        Replied = 3 "replied",
        /// The part that was confirmed.
        Confirmed = 4 "confirmed",
    }
}

stored! {
    /// Why a run is paused.
    PausedReason, "reason" {
        /// A person paused it.
        Person = 1 "person",
        /// The workspace is out of credit.
        Credit = 2 "credit",
        /// An answer of its provider: others would have met the same.
        Provider = 3 "provider",
        /// Too many of its messages failed.
        Failures = 4 "failures",
        /// The rest of a campaign, whose first part did not go well.
        FirstPart = 5 "first_part",
        /// Nobody could start it until long after its time.
        Late = 6 "late",
    }
}

stored! {
    /// How a schedule is written.
    ScheduleForm, "form" {
        /// Five fields.
        Cron = 1 "cron",
        /// Plain words.
        Words = 2 "words",
        /// One time by the clocks of its zone.
        Once = 3 "once",
    }
}

stored! {
    /// State of a campaign's schedule. See DATA_MODEL.md for the machine.
    ScheduleState, "state" {
        /// Its ticks fire.
        Active = 1 "active",
        /// A person paused it: its ticks are skipped.
        Paused = 2 "paused",
        /// Its one time has passed by too far: a person decides.
        Held = 3 "held",
        /// No tick will come any more.
        Ended = 4 "ended",
    }
}

stored! {
    /// What to do with a tick whose predecessor's run is not over.
    Overlap, "policy" {
        /// Skip it.
        Skip = 1 "skip",
        /// Run it afterwards.
        Queue = 2 "queue",
        /// Run it beside the other.
        Parallel = 3 "parallel",
    }
}

stored! {
    /// What became of an instant of a schedule.
    TickVerdict, "verdict" {
        /// It has its run.
        Fired = 1 "fired",
        /// Nobody dealt with it in time, and it was skipped.
        Missed = 2 "missed",
        /// Nobody dealt with it in time; the run of a later one stands for it.
        Merged = 3 "merged",
        /// Skipped, since a run was going on.
        Overlap = 4 "overlap",
        /// Waits for the end of a run.
        Queued = 5 "queued",
        /// Waits for a person.
        Held = 6 "held",
        /// The campaign could not be launched then.
        Refused = 7 "refused",
        /// The schedule was paused.
        Paused = 8 "paused",
        /// It waited, and the schedule was ended.
        Dropped = 9 "dropped",
    }
}

stored! {
    /// How the accounts of a campaign divide it.
    Sharing, "sharing" {
        /// As fast as each can: the fastest sends most.
        Together = 1 "together",
        /// By their shares; the slowest sets the pace of all.
        Shares = 2 "shares",
        /// A later one only what the earlier ones cannot send now.
        InOrder = 3 "in_order",
    }
}

stored! {
    /// Why an account sends nothing of a run that runs.
    Closed, "reason" {
        /// The credit does not pay for its messages.
        Credit = 1 "credit",
        /// An answer of its provider.
        Provider = 2 "provider",
        /// A person took it out.
        Person = 3 "person",
    }
}

stored! {
    /// What to do with a recipient who lacks a variable.
    OnMissing, "policy" {
        /// Refuse the launch.
        Refuse = 1 "refuse",
        /// Leave the recipient out.
        Skip = 2 "skip",
        /// Send with the default, or with nothing in its place.
        Default = 3 "default",
    }
}

stored! {
    /// What to do with a message in doubt at a provider without idempotency keys.
    OnUnknown, "policy" {
        /// Keep it in doubt for a person to decide.
        Hold = 1 "hold",
        /// Send it again, at the risk of a second one.
        Resend = 2 "resend",
        /// Count it as lost, and as paid.
        WriteOff = 3 "write_off",
    }
}

stored! {
    /// Kind of a waiting message.
    RetryKind, "kind" {
        /// Certainly not accepted: tried again when due.
        Retry = 1 "retry",
        /// May have been accepted.
        Unknown = 2 "unknown",
        /// Came by itself, and was never tried.
        New = 3 "new",
    }
}

stored! {
    /// State of one message; the classes of the conservation law.
    MessageState, "state" {
        /// Not yet claimed, or handed back.
        Queued = 1 "queued",
        /// Held by a worker.
        Leased = 2 "leased",
        /// Waits for its next attempt.
        Retrying = 3 "retrying",
        /// Accepted by the provider.
        Sent = 4 "sent",
        /// Refused for good, or out of attempts.
        Failed = 5 "failed",
        /// Not sent: suppressed.
        Suppressed = 6 "suppressed",
        /// Not sent: too late.
        Expired = 7 "expired",
        /// Not sent: the run was cancelled.
        Cancelled = 8 "cancelled",
        /// In doubt.
        Unknown = 9 "unknown",
    }
}

stored! {
    /// What a campaign is for: which rules hold for it.
    Category, "category" {
        /// Advertises. Goes to those who opted in, and not too often.
        Marketing = 1 "marketing",
        /// Answers what the recipient has done: a receipt, a code.
        Transactional = 2 "transactional",
        /// Tells what the recipient has to know: a delivery, a change.
        Utility = 3 "utility",
    }
}

stored! {
    /// Whom a workspace lets marketing go to.
    Consent, "consent" {
        /// Everybody counts as opted in.
        Assumed = 1 "assumed",
        /// Only those of whom it is known.
        Required = 2 "required",
    }
}
