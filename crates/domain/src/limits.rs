//! Every limit of the program in one place, the unit last in the name.

use std::time::Duration;

/// How far ahead of now a claim may reserve slots. A dead worker wastes at most this much.
pub const HORIZON_US: i64 = 300_000;
/// A first slot lies at least this far ahead, so that its claim's answer can arrive in time.
pub const LEAD_US: i64 = 3_000;
/// A slot not started this long after its time is dropped and its recipient handed back: a hundredth of
/// its window, at least this much.
pub const LATENESS_MIN_US: i64 = 10_000;
/// And at most this much.
pub const LATENESS_MAX_US: i64 = 5_000_000;
/// A run that keeps a pace of its own starts each message at most this long after its slot, and makes up for no more
/// than this where it was held up: what lies further back is lost, so that no pause builds up a burst.
pub const PACE_LAG_US: i64 = 250_000;
/// Allowed for the round trip of a look at the database's clock: slots are mapped to local time late by
/// at most this much.
pub const ROUND_TRIP_US: i64 = 2_000;
/// Allowed for the difference of two requests' ways to the provider.
pub const PATH_JITTER_US: i64 = 12_000;
/// The slack of a window beside the lateness, RTT + J + 1 µs: see [`crate::cap::Cap::period_us`].
pub const SLACK_US: i64 = ROUND_TRIP_US + PATH_JITTER_US + 1;
/// A cap over this long or longer is counted by hours instead of spread into slots.
pub const DAY_US: i64 = 86_400_000_000;
/// The hours that such a count is made of.
pub const HOUR_US: i64 = 3_600_000_000;

/// Most messages a worker holds for one account, from claim to committed outcome.
pub const HELD_MAX: usize = 4_096;
/// Most requests in flight from one worker at one account.
pub const IN_FLIGHT_MAX: usize = 256;
/// Most messages in one claim.
pub const CLAIM_MAX: usize = 1_024;
/// Most leases that one claim makes of them.
pub const CLAIM_LEASES_MAX: i32 = 64;
/// A full lane of retries is taken in lists of at most this many.
pub const RETRY_LIST_MAX: usize = 256;

/// How often a worker looks for urgent messages, while there are runs that may bring some.
pub const URGENT_EVERY: Duration = Duration::from_millis(10);
/// An urgent message without a slot is claimed only where one would be free for it within this.
pub const URGENT_AHEAD: Duration = Duration::from_millis(100);
/// Most urgent messages in one claim.
pub const URGENT_CLAIM_MAX: usize = 64;
/// Of the messages that a worker may hold, these are left for urgent ones.
pub const URGENT_HELD: usize = 512;

/// How often a worker writes down what happened.
pub const FLUSH_EVERY: Duration = Duration::from_millis(30);
/// How often a worker looks for work when there was none, or when a cap leaves it idle.
pub const CLAIM_EVERY: Duration = Duration::from_millis(60);
/// How often a worker looks at epochs.
pub const EPOCH_EVERY: Duration = Duration::from_millis(50);
/// No send starts on a look at the epochs older than this: what bounds the effect of a pause.
pub const EPOCH_STALE: Duration = Duration::from_millis(250);
/// How often a worker says that it is alive.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);
/// A worker silent for this long is dead.
pub const WORKER_TTL: Duration = Duration::from_secs(6);
/// How often a worker looks whether an account that it claims from was changed.
pub const ACCOUNTS_EVERY: Duration = Duration::from_millis(250);
/// How often the scheduler looks for work.
pub const SCHEDULE_EVERY: Duration = Duration::from_millis(200);
/// How often the scheduler forgets what counts no more, and stops live runs that are idle.
pub const FORGET_EVERY: Duration = Duration::from_secs(600);
/// How often the scheduler looks for dead workers.
pub const RECLAIM_EVERY: Duration = Duration::from_secs(2);

/// How often a worker looks for accounts whose provider is to be asked what became of messages.
pub const POLL_EVERY: Duration = Duration::from_secs(1);
/// Messages asked for before what was told of them is written down.
pub const POLL_PAGE: usize = 64;
/// While something waits to be sent, at most one slot in so many goes to a question.
pub const POLL_SHARE: i32 = 10;
/// A message is asked for first after this, then after twice as long, and so on.
pub const POLL_FIRST: Duration = Duration::from_secs(60);
/// It is asked for at least as often as this.
pub const POLL_WAIT_MAX: Duration = Duration::from_secs(6 * 3600);
/// And for this long: what is not told by then never will be.
pub const POLL_FOR: Duration = Duration::from_secs(72 * 3600);
/// A worker asks alone until this long after its last slot: longer than a question takes.
pub const POLL_LEASE: Duration = Duration::from_secs(30);
/// A provider that does not answer questions is left alone for this long.
pub const POLL_REST: Duration = Duration::from_secs(30);
/// One that refuses them, for this long.
pub const POLL_REFUSED_REST: Duration = Duration::from_secs(600);

/// Longest wait for a connection to a provider.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for a provider's answer; after it the message is in doubt.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// A message in doubt whose receipt would name it is not sent again sooner than this after its attempt: what
/// the provider has accepted it mostly reports within seconds.
pub const ECHO_WAIT: Duration = Duration::from_secs(5 * 60);
/// Longest provider answer that is read; the rest is cut off.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Longest page of a provider's list that is read.
pub const LIST_PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most pages of a provider's list that are read.
pub const LIST_PAGES_MAX: usize = 200;
/// Longest wait for a provider that is handed a file.
pub const UPLOAD_TIMEOUT: Duration = Duration::from_secs(120);
/// Most files that a process hands over at a time: each holds a connection to the database meanwhile, of which
/// a process has eight.
pub const UPLOADS_MAX: usize = 2;
/// Most logins that a process makes at a time: each holds a connection to the database meanwhile.
pub const LOGINS_MAX: usize = 2;
/// A file that a provider keeps for 30 days is referred to for so long.
pub const UPLOAD_REUSED: Duration = Duration::from_secs(29 * 24 * 3600);
/// Most bytes of files that a worker process remembers.
pub const FILES_REMEMBERED_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Most messages of a process in flight that carry a file's bytes themselves.
pub const FILES_IN_FLIGHT_MAX: usize = 4;
/// A connection to a provider idle for longer is not used again. Servers close idle connections after
/// five seconds or more; a request that meets the close is in doubt, a new connection costs little.
pub const CONNECTION_IDLE_MAX: Duration = Duration::from_secs(4);
/// Longest message id of a provider that is kept; a longer one counts as none.
pub const PROVIDER_ID_BYTES_MAX: usize = 256;

/// How long after a recipient wrote anything may be sent to them.
pub const WINDOW: Duration = Duration::from_secs(24 * 3600);
/// Nothing leaves in the last stretch of a window: it would arrive when that is closed.
pub const WINDOW_MARGIN: Duration = Duration::from_secs(60);

/// Longest post of a provider: Meta's are up to 3 MB.
pub const HOOK_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What is claimed within this of a window's closing may leave after it, so nothing is: a horizon and the
/// lateness of a slot, and a little for machines whose clocks differ.
pub const HOURS_MARGIN: Duration = Duration::from_secs(6);
/// A run by its recipients' clocks starts this long before the first of them shows its time.
pub const LOCAL_LEAD: Duration = Duration::from_secs(600);

/// Contacts in the first segment of a run: small, so that sending starts at once.
pub const FIRST_SEGMENT_CONTACTS: i64 = 5_000;
/// Contacts in each later segment.
pub const SEGMENT_CONTACTS: i64 = 100_000;
/// A segment ends early when its recipients take this much memory.
pub const SEGMENT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most recipients of a run.
pub const RECIPIENTS_MAX: i64 = 100_000_000;

/// A tick dealt with so long after its instant, or sooner, is on time.
pub const TICK_GRACE: Duration = Duration::from_secs(60);
/// A one-time start is held for a person when it is so late, unless a campaign's schedule says otherwise.
pub const LATEST_START: Duration = Duration::from_secs(3600);
/// Most missed ticks that a schedule makes up for, each by a run of its own.
pub const MADE_UP_MAX: i32 = 100;
/// Most ticks of a schedule that wait for the end of a run.
pub const TICKS_QUEUED_MAX: i64 = 100;
/// Most ticks of a schedule that are dealt with in one transaction.
pub const TICKS_AT_ONCE_MAX: usize = 10_000;
/// Most ticks of a schedule that counts in seconds, so that it ends before it floods the table of runs.
pub const SECONDS_TICKS_MAX: i32 = 1_000;

/// Shards of a run's counters.
pub const PROGRESS_SHARDS: u64 = 16;
/// Most characters of a provider's code or reason that are kept.
pub const DETAIL_CHARS_MAX: usize = 120;

/// Longest text of a template, its markup included.
pub const TEMPLATE_BYTES_MAX: usize = 256 * 1024;
/// Most references to variables in one text of a template.
pub const TEMPLATE_REFERENCES_MAX: usize = 500;
/// Most language variants of a template.
pub const VARIANTS_MAX: usize = 200;
/// Variants of one arm of a run are numbered in a block of so many.
pub const ARM_VARIANTS: i16 = 256;
/// Most arms of a run: templates that are tried against each other.
pub const ARMS_MAX: usize = 5;
/// Most positional parameters of an approved template.
pub const TEMPLATE_PARAMS_MAX: usize = 100;
/// Longest rendered text.
pub const RENDERED_BYTES_MAX: usize = 1024 * 1024;

/// A live run that nobody has named is stopped once nothing of it was under way for so long, and the next message
/// opens another: while there is one, each worker looks for urgent messages a hundred times a second.
pub const LIVE_IDLE: Duration = Duration::from_secs(3600);
/// Longest key of a message that comes by itself.
pub const KEY_BYTES_MAX: usize = 255;
/// Where such messages keep hours, their numbers are given out by zones, so many at a time.
pub const ONE_OFF_BLOCK: i32 = 4_096;
/// Most bytes of the values that come with such a message.
pub const PARAMS_BYTES_MAX: usize = 256 * 1024;

/// Longest word by which recipients opt out.
pub const OPT_WORD_CHARS_MAX: usize = 60;
/// Most changes of a workspace to the words that are built in.
pub const OPT_WORDS_MAX: i64 = 1_000;

/// Longest expression that says which contacts are meant.
pub const EXPRESSION_BYTES_MAX: usize = 4_096;
/// Most parentheses inside each other, each `not` counted as one.
pub const EXPRESSION_DEPTH_MAX: usize = 32;
/// Most terms of an expression.
pub const EXPRESSION_TERMS_MAX: usize = 200;
/// Longest time that an expression looks back.
pub const EXPRESSION_WITHIN_HOURS_MAX: u32 = 3_660 * 24;
/// Longest tag of a contact.
pub const TAG_CHARS_MAX: usize = 100;
/// Most tags of a contact.
pub const TAGS_MAX: usize = 100;
/// Most lists that a campaign goes to, and most that it leaves out.
pub const CAMPAIGN_LISTS_MAX: usize = 50;

/// Longest cell of a contact file; a row with a longer one is refused.
pub const CELL_BYTES_MAX: usize = 64 * 1024;
/// Longest row of a contact file; a file with a longer one is refused, since a quote is left open, most
/// likely.
pub const ROW_BYTES_MAX: usize = 1024 * 1024;
/// Most columns of a contact file.
pub const COLUMNS_MAX: usize = 1_024;
/// Most rows of a contact file.
pub const IMPORT_ROWS_MAX: u32 = 100_000_000;
/// Rows in one transaction of an import.
pub const IMPORT_BATCH_ROWS: usize = 10_000;
/// A batch ends early when its contacts take this much memory.
pub const IMPORT_BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most rejects that an import holds in memory for its summary; its rejects file has all.
pub const REJECTS_LISTED_MAX: usize = 1_000;
/// Memory for the addresses that an import has met, to tell new ones from the rest.
pub const IMPORT_SEEN_BYTES: usize = 8 * 1024 * 1024;
/// Largest inflated texts of a workbook, which are held in memory.
pub const WORKBOOK_STRINGS_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Largest other part of a workbook that is held in memory, inflated.
pub const WORKBOOK_PART_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Largest sheet, inflated; it is streamed.
pub const SHEET_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;
/// A part of a workbook above a few MiB that inflates by more than this is a bomb.
pub const INFLATE_FACTOR_MAX: u64 = 250;
/// Largest workbook of the old binary format, which is held in memory.
pub const XLS_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Most cells of such a workbook, the empty ones between the others included.
pub const XLS_CELLS_MAX: u64 = 2_500_000;

const _: () = {
    assert!(LEAD_US < HORIZON_US);
    assert!(LATENESS_MIN_US < HORIZON_US && LATENESS_MIN_US < LATENESS_MAX_US);
    // A message leaves within a second of the instant that its run's pace has for it: in any window W a rate of r lets
    // r × (W + 1 s) messages through at most.
    assert!(PACE_LAG_US + HORIZON_US + PACE_LAG_US + SLACK_US < 1_000_000);
    assert!(LEAD_US + PACE_LAG_US < HORIZON_US);
    assert!(CLAIM_EVERY.as_micros() * 2 < PACE_LAG_US as u128);
    assert!(CLAIM_MAX <= HELD_MAX && RETRY_LIST_MAX <= CLAIM_MAX && IN_FLIGHT_MAX <= HELD_MAX);
    assert!(URGENT_CLAIM_MAX <= URGENT_HELD && CLAIM_MAX + URGENT_HELD <= HELD_MAX);
    // Bulk holds slots up to the horizon: what lies beyond is nobody's to give.
    assert!(URGENT_AHEAD.as_micros() < HORIZON_US as u128);
    assert!(CONNECT_TIMEOUT.as_secs() + REQUEST_TIMEOUT.as_secs() < POLL_LEASE.as_secs());
    assert!(POLL_FIRST.as_secs() < POLL_WAIT_MAX.as_secs() && POLL_WAIT_MAX.as_secs() < POLL_FOR.as_secs());
    // A worker that cannot reach the database must fall silent before the fleet thinks it dead.
    assert!(EPOCH_STALE.as_millis() < WORKER_TTL.as_millis());
    assert!(EPOCH_EVERY.as_millis() * 2 < EPOCH_STALE.as_millis());
    assert!(HEARTBEAT_EVERY.as_millis() * 3 <= WORKER_TTL.as_millis());
    assert!(CONNECT_TIMEOUT.as_secs() + REQUEST_TIMEOUT.as_secs() < WINDOW_MARGIN.as_secs());
    assert!(WINDOW_MARGIN.as_secs() < WINDOW.as_secs());
    assert!(HORIZON_US + LATENESS_MAX_US < HOURS_MARGIN.as_micros() as i64);
    assert!(FIRST_SEGMENT_CONTACTS <= SEGMENT_CONTACTS);
    assert!((MADE_UP_MAX as usize) < TICKS_AT_ONCE_MAX && SECONDS_TICKS_MAX as usize <= TICKS_AT_ONCE_MAX);
    // A row number is stored as an int.
    assert!(IMPORT_ROWS_MAX < i32::MAX as u32);
    assert!(CELL_BYTES_MAX < ROW_BYTES_MAX && ROW_BYTES_MAX < IMPORT_BATCH_BYTES_MAX);
    // A variant is stored as a smallint.
    assert!(VARIANTS_MAX <= ARM_VARIANTS as usize && ARM_VARIANTS as usize * ARMS_MAX < i16::MAX as usize);
};
