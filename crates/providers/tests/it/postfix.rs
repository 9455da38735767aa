//! E-mail through a real server: a Postfix of this machine, in a directory and at a port of its own, that
//! throws away what it has accepted. Where there is none the test says so and is left out
//! (`scripts/postfix.sh` installs one).

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanfare_domain::clock::Clock;
use fanfare_domain::content::Content;
use fanfare_domain::message::{Channel, OutMessage};
use fanfare_domain::outcome::{Answer, FailureKind};
use fanfare_providers::smtp::CONNECTIONS_MAX;
use fanfare_providers::{Client, Provider as _, open};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::sleep;
use uuid::Uuid;

use crate::peer::{self, failed};

const MESSAGES: u128 = 5_000;
/// Sent at a time: more than there are connections.
const AT_ONCE: usize = 32;
/// What has not come by then never will.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(50);

const SERVICES: &str = "\
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
discard unix - - n - - discard
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
";

/// A running server.
struct Postfix {
    program: PathBuf,
    folder: TempDir,
    port: u16,
}

impl Postfix {
    /// Starts one, or says why there is none.
    fn start() -> Result<Self, String> {
        let found = |folders: &[&str], name: &str| {
            let path = folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists());
            path.ok_or_else(|| format!("no {name} in {}", folders.join(", ")))
        };
        let program = found(&["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"], "postfix")?;
        let smtpd = found(&["/usr/lib/postfix/sbin", "/usr/libexec/postfix", "/usr/lib/postfix"], "smtpd")?;
        let users = std::fs::read_to_string("/etc/passwd").map_err(|e| e.to_string())?;
        let user = users.lines().find_map(|line| line.strip_prefix("postfix:")).ok_or("no user postfix")?;
        let owner = user.split(':').nth(1).and_then(|id| id.parse().ok()).ok_or("no user id of postfix")?;

        let folder = TempDir::new().map_err(|e| e.to_string())?;
        let root = folder.path().display();
        // Its processes, which are not ours, must find their way.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())?;
        for inner in ["conf", "queue", "data"] {
            std::fs::create_dir(folder.path().join(inner)).map_err(|e| e.to_string())?;
        }
        chown(folder.path().join("data"), Some(owner), None).map_err(|_| "only root may start Postfix".to_owned())?;
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map_err(|e| e.to_string())?.port();
        let daemons = smtpd.parent().unwrap_or(Path::new("/")).display();
        let refused = "inline:{ { nobody@example.org = 550 5.1.1 no such user } }";
        let settings = format!(
            "compatibility_level = 3.6\nqueue_directory = {root}/queue\ndata_directory = {root}/data\n\
             command_directory = {}\ndaemon_directory = {daemons}\nmail_owner = postfix\nsetgid_group = postdrop\n\
             myhostname = mail.example.com\nmydestination =\nmynetworks = 127.0.0.0/8\ninet_interfaces = 127.0.0.1\n\
             inet_protocols = ipv4\ndefault_transport = discard:\nalias_maps =\nlocal_recipient_maps =\n\
             maillog_file = {root}/maillog\nmaillog_file_prefixes = {root}\nin_flow_delay = 0\n\
             message_size_limit = 100000\nsmtputf8_enable = no\nsmtpd_relay_restrictions = permit_mynetworks, reject\n\
             smtpd_recipient_restrictions = check_recipient_access {refused}, permit_mynetworks, reject\n",
            program.parent().unwrap_or(Path::new("/")).display(),
        );
        let services = format!("127.0.0.1:{port} inet n - n - - smtpd\n{SERVICES}");
        let conf = folder.path().join("conf");
        std::fs::write(conf.join("main.cf"), settings).map_err(|e| e.to_string())?;
        std::fs::write(conf.join("master.cf"), services).map_err(|e| e.to_string())?;
        let postfix = Self { program, folder, port };
        match postfix.tell("start") {
            true => Ok(postfix),
            false => Err(format!("it does not start: {}", postfix.log())),
        }
    }

    fn tell(&self, what: &str) -> bool {
        let mut command = Command::new(&self.program);
        let said = command.arg("-c").arg(self.folder.path().join("conf")).arg(what).output();
        said.is_ok_and(|output| output.status.success())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("maillog")).unwrap_or_default()
    }

    /// How often each Message-ID was taken into its queue.
    fn queued(&self) -> BTreeMap<String, usize> {
        let mut queued = BTreeMap::new();
        let log = self.log();
        let ids = log.lines().filter_map(|line| line.split_once("message-id=<")?.1.split_once('>'));
        ids.for_each(|(id, _)| *queued.entry(id.to_owned()).or_default() += 1);
        queued
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        self.tell("stop");
    }
}

fn message(n: u128) -> OutMessage {
    OutMessage {
        id: Uuid::from_u128(n),
        to: format!("amina{n}@example.org"),
        from: Some("Shop <shop@example.com>".into()),
        channel: Channel::Email,
        content: Content::Text { subject: Some(format!("Spring {n}")), body: "Hello\n.\nAmina, مرحبا".into() },
        ..peer::message()
    }
}

#[tokio::test]
async fn a_real_server_takes_each_of_many_once_over_few_connections() {
    let postfix = match Postfix::start() {
        Ok(postfix) => postfix,
        Err(why) => return eprintln!("left out, since there is no Postfix to be had: {why}"),
    };
    let settings = json!({ "url": format!("smtp://127.0.0.1:{}", postfix.port), "tls": "none" });
    let adapter = Arc::new(open("smtp", &settings, None, &Client::new(Clock::system())).unwrap());
    let began = Instant::now();
    while adapter.check().await.is_err() {
        assert!(began.elapsed() < PATIENCE, "it never greets:\n{}", postfix.log());
        sleep(LOOK).await;
    }

    let mut flight = JoinSet::new();
    for n in 0..MESSAGES {
        if flight.len() == AT_ONCE {
            flight.join_next().await.unwrap().unwrap();
        }
        let adapter = adapter.clone();
        flight.spawn(async move {
            let answer = adapter.send(&message(n), &|| true).await;
            assert_eq!(answer, Answer::Sent { provider_id: Some(format!("{}@example.com", message(n).id)) });
        });
    }
    while let Some(done) = flight.join_next().await {
        done.unwrap();
    }

    let refused = OutMessage { to: "nobody@example.org".into(), ..message(MESSAGES) };
    let said = failed(FailureKind::PermanentRecipient, "rcpt 550 5.1.1");
    assert_eq!(adapter.send(&refused, &|| true).await, said);
    let body = "Hello Amina, ".repeat(10_000);
    let large = OutMessage { content: Content::Text { subject: Some("s".into()), body }, ..message(MESSAGES) };
    assert_eq!(adapter.send(&large, &|| true).await, failed(FailureKind::PermanentContent, "mail 552 5.3.4"));
    let foreign = OutMessage { to: "أمينة@example.org".into(), ..message(MESSAGES) };
    let said = failed(FailureKind::PermanentRecipient, "no SMTPUTF8 offered");
    assert_eq!(adapter.send(&foreign, &|| true).await, said);

    let began = Instant::now();
    let mut queued = postfix.queued();
    while queued.len() < MESSAGES as usize {
        assert!(began.elapsed() < PATIENCE, "{} of {MESSAGES} in its log", queued.len());
        sleep(LOOK).await;
        queued = postfix.queued();
    }
    assert!(queued.values().all(|times| *times == 1), "taken twice");
    let expected: BTreeMap<_, _> = (0..MESSAGES).map(|n| (format!("{}@example.com", Uuid::from_u128(n)), 1)).collect();
    assert_eq!(queued, expected);
    let connections = postfix.log().lines().filter(|line| line.contains(" connect from ")).count();
    assert!(connections <= CONNECTIONS_MAX, "{connections} connections");
}
