//! Who was erased can be read nowhere, and is known again.

use std::ops::ControlFlow;

use fanfare_domain::state::Category;
use fanfare_store::audience::{Filter, Source, Whom, each_contact, take};
use fanfare_store::erase::{Erased, erase};
use fanfare_store::one_off::{Entered, OneOff, enter};
use fanfare_store::queue;
use fanfare_store::{audit, suppressions, workspaces};
use fanfare_testdb::TestDb;

use crate::actor::Actor;
use crate::one_off::{one_off, scene};
use crate::scene::{ACCOUNT, RUN, Scene, WORKSPACE};

/// The recipient of seq 3, as the scene makes them.
const ADDRESS: &str = "+21355503";
const EMAIL: &str = "ali@x.dz";

/// Every text of every table of tenants that names one of these.
async fn mentions(db: &TestDb, needles: &[&str]) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by 1",
    )
    .fetch_all(&db.store.pool)
    .await
    .unwrap();
    let mut found = Vec::new();
    for table in tables {
        let rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select t::text from {table} t")))
            .fetch_all(&db.store.pool)
            .await
            .unwrap();
        found.extend(
            rows.into_iter().filter(|row| needles.iter().any(|n| row.contains(n))).map(|row| format!("{table}: {row}")),
        );
    }
    found
}

/// What the audit finds, whatever that is.
async fn books(db: &TestDb) -> String {
    format!("{:?}", audit::audit(&mut db.store.pool.acquire().await.unwrap(), WORKSPACE).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_contact_can_be_read_nowhere_and_stays_suppressed() {
    let db = TestDb::new().await;
    Scene { recipients: 9, segments: 1, idempotent: true, reserve_each: 0, credit: 0 }.set(&db).await;
    sqlx::raw_sql(
        "insert into list values (1, 11, 'm', now());
         insert into contact (workspace_id, list_id, import_id, row_no, address, email, name, attributes) values
           (1, 10, 1, 1, '+21355503', 'ali@x.dz', 'Ali', '{\"city\": \"Oran\"}'), (1, 11, 1, 1, 'ali@x.dz', null, null, null),
           (1, 11, 1, 3, '+21355505', 'ali@x.dz', null, null),
           (1, 10, 1, 2, '+21355504', null, null, null);
         update recipient set params = '[\"Ali\"]' where seq = 3;
         insert into outcome values (1, 3, 60, 20, now(), 0, 1, 1, 2, false, null, 'no such number 21355503');
         insert into receipt values (1, 60, 3, 4, 20, now(), now(), '+21355503 is unknown');
         insert into inbound values (1, 20, 'x', '+21355503', now(), now(), 3, null, null);
         insert into conversation values (1, 20, '+21355503', now());
         insert into contacted values (1, 20, '+21355503', 1);
         insert into suppression values (1, '+21355503', 3, 'opted out', now(), 0)",
    )
    .execute(&db.store.pool)
    .await
    .unwrap();
    let books = books(&db).await;
    let done = erase(&db.store, WORKSPACE, ADDRESS, "support").await.unwrap();
    assert_eq!(books, self::books(&db).await, "no book changes");
    // By the phone: its contact and, since the mailbox stands beside it, the address of the other list goes too.
    assert_eq!(done, Erased { addresses: 2, contacts: 2, messages: 1, heard: 3 });
    assert_eq!(mentions(&db, &["21355503", EMAIL, "Ali"]).await, Vec::<String>::new());
    let again = erase(&db.store, WORKSPACE, ADDRESS, "support").await.unwrap();
    assert_eq!(again, Erased { addresses: 1, ..Erased::default() });

    let mut c = db.store.pool.acquire().await.unwrap();
    let pepper = db.store.seal.pepper();
    // A file that brings the address back learns that it is suppressed.
    let among = suppressions::among(&mut c, pepper, WORKSPACE, &["+21355503", "+21355504", EMAIL]).await.unwrap();
    assert_eq!(among, ["+21355503", EMAIL]);
    let elsewhere = workspaces::ensure(&mut c, "elsewhere", db.store.clock.now()).await.unwrap();
    assert!(suppressions::among(&mut c, pepper, elsewhere, &[ADDRESS]).await.unwrap().is_empty());
    assert_ne!(
        pepper.hash(WORKSPACE, ADDRESS),
        pepper.hash(elsewhere, ADDRESS),
        "workspaces learn nothing of each other"
    );
    // A campaign leaves it out, and finds it by the same hash that the program computes.
    sqlx::query(
        "insert into contact (workspace_id, list_id, import_id, row_no, address) values (1, 10, 2, 1, '+21355503')",
    )
    .execute(&mut *c)
    .await
    .unwrap();
    let whom = Whom {
        minus: &[],
        segment: None,
        category: Category::Utility,
        accounts: &[ACCOUNT],
        now: db.store.clock.now(),
    };
    let filter = Filter::of(&mut c, pepper, WORKSPACE, whom).await.unwrap();
    let source = Source {
        workspace_id: WORKSPACE,
        lists: &[10],
        by_phone: true,
        attributes: false,
        heard_by: &[],
        filter: &filter,
    };
    let mut read = Vec::new();
    each_contact(&mut c, source, "", 10, |contact| {
        read.push((contact.address.to_owned(), contact.suppressed));
        ControlFlow::Continue(())
    })
    .await
    .unwrap();
    assert_eq!(read, [("+21355503".to_owned(), true), ("+21355504".to_owned(), false)]);
    // What waits to be sent to it is not sent, be it from before or named anew.
    sqlx::query("update recipient set address = '+21355503' where run_id = $1 and seq = 7")
        .bind(RUN)
        .execute(&mut *c)
        .await
        .unwrap();
    drop(c);
    let mut worker = Actor::start(&db, 1).await;
    assert_eq!(worker.claim(&db, 9).await, 9);
    let mut c = db.store.pool.acquire().await.unwrap();
    let lease = &worker.held[0].lease;
    let messages = queue::messages(&mut c, pepper, (WORKSPACE, ACCOUNT), lease).await.unwrap();
    let suppressed: Vec<i32> = messages.iter().filter(|m| m.suppressed).map(|m| m.seq).collect();
    assert_eq!(suppressed, [3, 7]);

    suppressions::remove(&mut c, pepper, WORKSPACE, ADDRESS, None).await.unwrap();
    assert!(
        suppressions::among(&mut c, pepper, WORKSPACE, &[ADDRESS]).await.unwrap().is_empty(),
        "a person may lift it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_erased_while_a_segment_is_written_is_erased_there_too() {
    let db = TestDb::new().await;
    Scene { recipients: 2, segments: 1, idempotent: true, reserve_each: 0, credit: 0 }.set(&db).await;
    sqlx::query("insert into expansion (workspace_id, run_id) values ($1, $2)")
        .bind(WORKSPACE)
        .bind(RUN)
        .execute(&db.store.pool)
        .await
        .unwrap();
    let mut writing = db.store.pool.begin().await.unwrap();
    assert!(take(&mut writing, WORKSPACE, RUN).await.unwrap());
    sqlx::query(
        "insert into recipient (workspace_id, seq, run_id, units, variant, address) values ($1, 2, $2, 1, 0, $3)",
    )
    .bind(WORKSPACE)
    .bind(RUN)
    .bind(ADDRESS)
    .execute(&mut *writing)
    .await
    .unwrap();
    let commit = async {
        waiting(&db, 1, || false).await;
        writing.commit().await.unwrap();
    };
    let (done, ()) = tokio::join!(erase(&db.store, WORKSPACE, ADDRESS, "support"), commit);
    assert_eq!(done.unwrap().messages, 1);
    assert_eq!(mentions(&db, &[ADDRESS]).await, Vec::<String>::new());
}

/// Waits until so many wait for a lock, or `done` says that it is in vain.
async fn waiting(db: &TestDb, many: i64, done: impl Fn() -> bool) {
    let waiting =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&db.store.pool).await.unwrap() < many && !done() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_erased_while_a_message_is_entered_is_erased_there_too() {
    let db = scene(0, 0, 0).await;
    let hash = db.store.seal.pepper().hash(WORKSPACE, ADDRESS);
    let message = |key| OneOff { address: ADDRESS, hash: &hash, ..one_off(Some(key), b"", &[(ACCOUNT, 0)]) };
    // Whoever enters a message waits for this one, all else done.
    let mut held = db.store.pool.begin().await.unwrap();
    sqlx::query("select from run where run_id = 61 for update").execute(&mut *held).await.unwrap();
    let gone = std::sync::atomic::AtomicBool::new(false);
    let is_gone = || gone.load(std::sync::atomic::Ordering::Relaxed);
    let erased = async {
        waiting(&db, 1, || false).await;
        let done = erase(&db.store, WORKSPACE, ADDRESS, "support").await.unwrap();
        gone.store(true, std::sync::atomic::Ordering::Relaxed);
        done
    };
    let released = async {
        waiting(&db, 2, is_gone).await;
        held.commit().await.unwrap();
    };
    let (entered, erased, ()) =
        tokio::join!(enter(&db.store.pool, WORKSPACE, message("code-for-+21355503")), erased, released);
    assert_eq!((entered.unwrap(), erased.messages), (Entered::As(0), 1));
    assert_eq!(mentions(&db, &["21355503"]).await, Vec::<String>::new());
    // What was judged before the erasing, and is entered behind it.
    assert_eq!(enter(&db.store.pool, WORKSPACE, message("later")).await.unwrap(), Entered::Suppressed);
    assert_eq!(mentions(&db, &["21355503"]).await, Vec::<String>::new());
    let other = OneOff { address: "+21355504", hash: "erased:0", ..message("another's") };
    assert_eq!(enter(&db.store.pool, WORKSPACE, other).await.unwrap(), Entered::As(1));
}
