//! The mail server: what it says at each stage, and what it takes.

use fanfare_sim::{Config, Faults, Handle, Kind};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::client::{Client, start};

/// The commands of a transaction, and the e-mail with its dot.
fn transaction(id: u128) -> [String; 4] {
    let id = Uuid::from_u128(id);
    let mail = format!(
        "From: s@example.com\r\nTo: amina@example.org\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n\
         Subject: Spring\r\nMessage-ID: <{id}@example.com>\r\n\r\nHello\r\n..\r\n."
    );
    ["MAIL FROM:<s@example.com>".into(), "RCPT TO:<amina@example.org>".into(), "DATA".into(), mail]
}

struct Mailer(BufReader<TcpStream>);

impl Mailer {
    async fn connect(sim: &Handle) -> Self {
        assert_eq!(sim.url(), format!("smtp://{}", sim.address()));
        let mut mailer = Self(BufReader::new(TcpStream::connect(sim.address()).await.unwrap()));
        assert!(mailer.reply().await.unwrap().starts_with("220 "));
        assert!(mailer.say("EHLO test").await.unwrap().starts_with("250 "));
        mailer
    }

    /// The last line of a reply.
    async fn reply(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).await.unwrap_or(0) == 0 {
                return None;
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                return Some(line.trim_end().to_owned());
            }
        }
    }

    async fn say(&mut self, line: &str) -> Option<String> {
        self.0.write_all(format!("{line}\r\n").as_bytes()).await.ok()?;
        self.reply().await
    }

    /// What was said last in a transaction, which ends where it is refused.
    async fn send(&mut self, id: u128) -> Option<String> {
        let mut last = None;
        for line in transaction(id) {
            last = self.say(&line).await;
            if !last.as_ref()?.starts_with(['2', '3']) {
                break;
            }
        }
        last
    }
}

fn faulty(fault: &str) -> Handle {
    let faults = Faults::default().with(format!("{fault}=1").parse().unwrap()).unwrap();
    start(Config { kind: Kind::Smtp, faults, ..Config::default() })
}

#[tokio::test]
async fn emails_are_known_by_their_message_id_and_counted_at_the_control_address() {
    let sim = start(Config { kind: Kind::Smtp, secret: Some("s3cret".into()), ..Config::default() });
    let mut mailer = Mailer::connect(&sim).await;
    assert_eq!(mailer.send(7).await.unwrap(), "530 5.7.0 Authentication required");
    assert_eq!(
        mailer.say("AUTH PLAIN AHNob3AAd3Jvbmc=").await.unwrap(),
        "535 5.7.8 Authentication credentials invalid"
    );
    assert_eq!(mailer.say("AUTH PLAIN AHNob3AAczNjcmV0").await.unwrap(), "235 2.7.0 Authentication successful");
    assert_eq!(mailer.send(7).await.unwrap(), "250 2.0.0 Ok: queued as sim-1");
    assert_eq!(mailer.send(7).await.unwrap(), "250 2.0.0 Ok: queued as sim-2");
    let mut operator = Client::connect(sim.control_address()).await;
    let stats = operator.get("/stats").await.json();
    assert_eq!((&stats["accepted"], &stats["accepted_twice"]), (&2.into(), &1.into()));
    let accepted = &operator.get("/accepted").await.json()["accepted"][0];
    assert_eq!(
        (&accepted["to"], &accepted["id"]),
        (&"amina@example.org".into(), &Uuid::from_u128(7).to_string().into())
    );
}

#[tokio::test]
async fn each_fault_comes_where_a_mail_server_has_it() {
    let said = [
        ("429", Some("451 4.7.0 Slow down"), 0),
        ("429-retry-after", Some("421 4.7.0 Slow down, closing"), 0),
        ("500", Some("554 5.3.0 Transaction failed"), 0),
        ("500-accepted", None, 1),
        ("503", Some("421 4.3.2 Not accepting mail now, closing"), 0),
        ("reset", None, 0),
        ("reset-accepted", None, 1),
        ("slow-body", Some("250 2.0.0 Ok: queued as sim-1"), 1),
        ("malformed", Some("2.0.0 Ok"), 1),
        ("recipient", Some("550 5.1.1 No such mailbox"), 0),
    ];
    for (fault, reply, accepted) in said {
        let sim = faulty(fault);
        let mut mailer = Mailer::connect(&sim).await;
        assert_eq!(mailer.send(1).await.as_deref(), reply, "{fault}");
        assert_eq!((sim.stats().accepted, sim.stats().by_fault[fault]), (accepted, 1), "{fault}");
    }
}

#[tokio::test]
async fn what_is_no_email_is_refused() {
    let sim = start(Config { kind: Kind::Smtp, ..Config::default() });
    let mut mailer = Mailer::connect(&sim).await;
    assert_eq!(mailer.say("DATA").await.unwrap(), "554 5.5.1 No valid recipients");
    let [from, to, data, mail] = transaction(1);
    for bad in [mail.replace("Date: ", "Dated: "), mail.replace("Hello\r\n", "Hello\n"), mail.replace("amina", "x")] {
        mailer.say(&from).await;
        mailer.say(&to).await;
        mailer.say(&data).await;
        assert!(mailer.say(&bad).await.unwrap().starts_with("554 5.6.0 "));
    }
    assert_eq!((sim.stats().accepted, sim.stats().rejected), (0, 3));
    assert_eq!(mailer.say("QUIT").await.unwrap(), "221 2.0.0 Bye");
}
