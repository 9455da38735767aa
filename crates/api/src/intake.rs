//! Storing what was heard: everything that waits goes into one transaction for each account.

use std::collections::BTreeMap;

use fanfare_providers::hooks::News;
use fanfare_store::receipts::{self, Taken};
use fanfare_store::{Result, Store, inbound};
use tokio::sync::{mpsc, oneshot};

/// Posts that wait to be stored; beyond it senders wait.
const WAITING_MAX: usize = 10_000;
/// Receipts in one transaction, about.
const BATCH_RECEIPTS: usize = 5_000;

/// Tenant and account.
type Key = (i32, i64);

/// A post, and who waits for it to be stored.
struct Post {
    key: Key,
    news: News,
    done: oneshot::Sender<Option<Taken>>,
}

/// Where posts are handed in.
pub struct Intake(mpsc::Sender<Post>);

/// The task that stores them.
pub struct Work {
    store: Store,
    posts: mpsc::Receiver<Post>,
}

impl Intake {
    pub fn new(store: Store) -> (Self, Work) {
        let (sender, posts) = mpsc::channel(WAITING_MAX);
        (Self(sender), Work { store, posts })
    }

    /// Stores what was heard; `None` if the database did not take it. What is given of receipts is about
    /// the whole batch that they were stored with, and said to its first post only.
    pub async fn store(&self, key: Key, news: News) -> Option<Taken> {
        let (done, stored) = oneshot::channel();
        self.0.send(Post { key, news, done }).await.ok()?;
        stored.await.ok()?
    }
}

impl Work {
    /// Stores posts until nobody can hand one in any more.
    pub async fn run(mut self) {
        while let Some(first) = self.posts.recv().await {
            let mut waiting = first.news.receipts.len();
            let mut by_account: BTreeMap<Key, Vec<Post>> = BTreeMap::from([(first.key, vec![first])]);
            // What came while the last batch was stored.
            while waiting < BATCH_RECEIPTS
                && let Ok(post) = self.posts.try_recv()
            {
                waiting += post.news.receipts.len();
                by_account.entry(post.key).or_default().push(post);
            }
            for (key, posts) in by_account {
                self.account(key, posts).await;
            }
        }
    }

    async fn account(&self, key: Key, mut posts: Vec<Post>) {
        let mut all = News::default();
        for post in &mut posts {
            all.receipts.append(&mut post.news.receipts);
            all.inbound.append(&mut post.news.inbound);
        }
        let mut stored = match self.take(key, &all).await {
            Ok(taken) => Some(taken),
            Err(error) => {
                tracing::warn!(account_id = key.1, posts = posts.len(), ?error, "posts could not be stored");
                None
            }
        };
        for post in posts {
            // Who gave up waiting posts again, and nothing counts twice.
            let _ = post.done.send(stored);
            stored = stored.map(|_| Taken::default());
        }
    }

    async fn take(&self, (workspace_id, account_id): Key, news: &News) -> Result<Taken> {
        if !news.inbound.is_empty() {
            inbound::take(&self.store, workspace_id, account_id, &news.inbound).await?;
        }
        if news.receipts.is_empty() {
            return Ok(Taken::default());
        }
        receipts::take(&self.store, workspace_id, account_id, &news.receipts).await
    }
}
