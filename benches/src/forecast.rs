//! What `campaign plan` foretells beside what `campaign report` says came of it, for five different campaigns.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::fleet::{Fleet, rounded};

const TEXT: &str = "Hello {{ name }}, this is a message of more than one hundred and sixty characters, so that it \
                    takes two segments of an SMS and its price is due twice, whoever it is that receives it today.";

/// A campaign to be foretold: its name, its accounts and policies, and its messages.
struct Case {
    name: &'static str,
    template: &'static str,
    list: &'static str,
    through: &'static [&'static str],
}

const CASES: [Case; 5] = [
    Case { name: "one_account", template: "short", list: "many", through: &["--account", "a"] },
    Case { name: "two_segments_prices_by_country", template: "long", list: "many", through: &["--account", "b"] },
    Case {
        name: "two_accounts_together",
        template: "short",
        list: "many",
        through: &["--account", "a", "--account", "c"],
    },
    Case {
        name: "in_order_when_the_day_of_the_first_is_over",
        template: "short",
        list: "many",
        through: &["--account", "day", "--account", "dear", "--in-order"],
    },
    Case { name: "beside_another", template: "short", list: "few", through: &["--account", "a", "--weight", "2"] },
];

pub async fn run(program: &Path, divide: u64) -> anyhow::Result<Value> {
    let fleet = Fleet::new(program).await?;
    let (_sim, port) = fleet.sim(&["--latency", "5ms"]).await?;
    set_up(&fleet, port, divide).await?;
    let _scheduler = fleet.start(&["scheduler"])?;
    let _worker = fleet.start(&["worker"])?;
    fleet.serving().await?;
    let mut report = serde_json::Map::new();
    for case in CASES {
        let create = ["campaign", "create", case.name, "--template", case.template, "--list", case.list];
        fleet.run(&[&create[..], case.through].concat())?;
        if case.name == "beside_another" {
            let other = ["campaign", "create", "other", "--template", "short", "--list", "many", "--account", "a"];
            fleet.run(&other)?;
            fleet.run(&["campaign", "launch", "other"])?;
            expanded(&fleet, "other").await?;
        }
        fleet.run(&["campaign", "launch", case.name])?;
        finished(&fleet, case.name).await?;
        report.insert(case.name.to_owned(), compare(&fleet, case.name)?);
        if case.name == "beside_another" {
            fleet.run(&["campaign", "cancel", "other"])?;
        }
    }
    Ok(Value::Object(report))
}

async fn set_up(fleet: &Fleet, port: u16, divide: u64) -> anyhow::Result<()> {
    let url = format!("http://127.0.0.1:{port}/send");
    for (name, cap, prices) in [
        ("a", "500/s", &["--price", "5000"][..]),
        ("b", "250/s", &["--price", "5000", "--price", "DZ=7000", "--price", "FR=40000"]),
        ("c", "250/s", &["--price", "5000"]),
        ("day", "1000/s,4000/d", &["--price", "1000"]),
        ("dear", "400/s", &["--price", "9000"]),
    ] {
        let caps: Vec<&str> = cap.split(',').flat_map(|cap| ["--cap", cap]).collect();
        let add =
            ["account", "add", name, "--kind", "http", "--url", &url, "--secret", "s3cret", "--idempotent", "true"];
        fleet.run(&[&add[..], &caps, prices].concat())?;
    }
    fleet.run(&["credits", "topup", "1000000000000"])?;
    fleet.run(&["template", "add", "short", "--channel", "sms", "--body", "Hello {{ name }}"])?;
    fleet.run(&["template", "add", "long", "--channel", "sms", "--body", TEXT])?;
    for (list, name, contacts) in [(1, "many", 12_000 / divide), (2, "few", 6_000 / divide)] {
        sqlx::query("insert into list values (1, $1, $2, now())")
            .bind(list)
            .bind(name)
            .execute(&fleet.store.pool)
            .await?;
        sqlx::query(
            "insert into contact (workspace_id, list_id, import_id, row_no, address, name, country)
             select 1, $1, 1, i, '+2135' || lpad(i::text, 8, '0'), 'Amina ' || i % 977, (array['DZ', 'FR', 'TN'])[1 + i % 3]
             from generate_series(1, $2) i",
        )
        .bind(list)
        .bind(contacts as i64)
        .execute(&fleet.store.pool)
        .await?;
    }
    Ok(())
}

async fn expanded(fleet: &Fleet, name: &str) -> anyhow::Result<()> {
    while fleet.run(&["campaign", "status", name])?["expanded"] != json!(true) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

async fn finished(fleet: &Fleet, name: &str) -> anyhow::Result<()> {
    for _ in 0..600 {
        if fleet.run(&["campaign", "status", name])?["state"] == json!("finished") {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    ensure!(false, "{name} does not end");
    Ok(())
}

fn compare(fleet: &Fleet, name: &str) -> anyhow::Result<Value> {
    let report = fleet.run(&["campaign", "report", name])?;
    let seconds = |which: &str| report["seconds"][which].as_f64().with_context(|| format!("{name}: {report}"));
    let (forecast, fact) = (seconds("forecast")?, seconds("fact")?);
    Ok(json!({
        "seconds_forecast": rounded(forecast),
        "seconds_fact": rounded(fact),
        "fact_to_forecast": rounded(fact / forecast),
        "fact_to_forecast_target": "0.95 to 1.05",
        "cost_forecast": report["cost"]["forecast"],
        "cost_fact": report["cost"]["fact"],
        "messages": report["messages"]["fact"],
    }))
}
