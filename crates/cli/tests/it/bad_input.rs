//! Bad input gets a clear error that names the place and what to do, and leaves nothing half-written.

use std::fs::File;
use std::io::{Cursor, Write as _};

use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use crate::program::{Home, SECRET, fixture};

/// Runs an import that must fail; gives what it said, after seeing that there is no list.
fn refused(home: &Home, name: &str, content: &[u8], more: &[&str]) -> String {
    let file = home.file(name, content);
    let said = home.fails(1, &[&["import", &file, "--list", "l", "--country", "DZ"], more].concat());
    assert!(said.contains(name), "it does not name the file: {said}");
    let lists = home.json(&["list", "ls"]);
    let contacts = lists["lists"].as_array().unwrap().iter().map(|l| l["contacts"].as_i64().unwrap()).sum::<i64>();
    assert_eq!(contacts, 0, "{name} was half-written");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_contact_files() {
    let home = Home::new().await;
    let said = home.fails(1, &["import", "nowhere.csv", "--list", "l"]);
    assert!(said.contains("nowhere.csv") && said.contains("no such file"), "{said}");
    assert!(refused(&home, "empty.csv", b"", &[]).contains("empty"));
    assert!(refused(&home, "header.csv", b"phone,name\n", &[]).contains("no row"));
    assert!(refused(&home, "program.csv", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0", &[]).contains("not a table"));
    // An encrypted workbook is an OLE file with a stream of this name, which is written in UTF-16.
    let mut encrypted = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec();
    encrypted.extend("EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes));
    encrypted.resize(4096, 0);
    let said = refused(&home, "locked.xlsx", &encrypted, &[]);
    assert!(said.contains("password") || said.contains("damaged"), "{said}");
    let said = refused(&home, "people.csv", b"first,last\nAnn,Benali\nBob,Haddad\n", &[]);
    assert!(said.contains("no column has phones or e-mails") && said.contains("--map"), "{said}");
    let said = refused(&home, "map.csv", b"phone,name\n0770000001,Ann\n", &["--map", "phone=Phonne"]);
    assert!(said.contains("Phonne") && said.contains("phone"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_that_is_not_utf8_is_refused_by_row_and_column() {
    let home = Home::new().await;
    let file = home.file("utf8.csv", b"\xef\xbb\xbfphone,name\n0770000001,Ann\n0770000002,B\xffb\n");
    let said = home.ok(&["import", &file, "--list", "l", "--country", "DZ"]);
    assert!(said.contains("row 2  name") && said.contains("not UTF-8"), "{said}");
    let file = home.file("all.csv", b"\xef\xbb\xbfphone,name\n0770000002,B\xffb\n");
    let done = home.run(&["import", &file, "--list", "m", "--country", "DZ"]);
    assert_eq!(done.code, 1, "a file whose every row is refused has failed: {done:?}");
}

/// The workbook of the fixtures, with one part blown up to 300 MiB that take up 300 KiB.
fn bomb(part: &str) -> Vec<u8> {
    let mut honest = ZipArchive::new(File::open(fixture("contacts.xlsx")).unwrap()).unwrap();
    let mut bomb = ZipWriter::new(Cursor::new(Vec::new()));
    for i in 0..honest.len() {
        let entry = honest.by_index_raw(i).unwrap();
        if entry.name().unwrap() != part {
            bomb.raw_copy_file(entry).unwrap();
        }
    }
    bomb.start_file(part, SimpleFileOptions::default().compression_level(Some(1))).unwrap();
    let spaces = vec![b' '; 1 << 20];
    (0..300).for_each(|_| bomb.write_all(&spaces).unwrap());
    bomb.finish().unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn workbooks_that_would_take_all_memory() {
    let home = Home::new().await;
    // The texts are held in memory, the sheet is streamed.
    let cases = [
        ("strings.xlsx", "xl/sharedStrings.xml", "zip bomb"),
        ("sheet.xlsx", "xl/worksheets/sheet1.xml", "holds more than 1024 KiB"),
    ];
    for (name, part, why) in cases {
        let said = refused(&home, name, &bomb(part), &[]);
        assert!(said.contains(why) && said.to_lowercase().contains(&part.to_lowercase()), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_without_end() {
    let home = Home::new().await;
    let header: Vec<String> = (0..10_000).map(|i| format!("column{i}")).collect();
    let wide = format!("phone,{}\n0770000001{}\n", header.join(","), ",".repeat(10_000));
    assert!(refused(&home, "wide.csv", wide.as_bytes(), &[]).contains("columns"));
    let long = format!("phone,name\n0770000001,{}\n", "x".repeat(10 << 20));
    let said = refused(&home, "long.csv", long.as_bytes(), &[]);
    assert!(said.contains("line 2") && said.contains("column 2"), "{said}");
    let said = refused(&home, "quote.csv", b"phone,name\n0770000001,\"Ann\n0770000002,Bob\n", &[]);
    assert!(said.contains("line 2") && said.contains("never closed"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_that_cannot_be() {
    let home = Home::new().await;
    let add = |body: &str| home.fails(1, &["template", "add", "t", "--channel", "sms", "--body", body]);
    let said = add("Hello {{ name ");
    assert!(said.contains("line 1") && said.contains("expected `}}`"), "{said}");
    let said = add("Hello {{ name | defalt('x') }}");
    assert!(said.contains("\"defalt\"") && said.contains("default"), "{said}");
    let latin = home.file("body.txt", b"Caf\xe9");
    let said = home.fails(1, &["template", "add", "t", "--channel", "sms", "--body-file", &latin]);
    assert!(said.contains("body.txt") && said.contains("invalid UTF-8 at byte 4"), "{said}");
    assert_eq!(home.json(&["template", "ls"])["templates"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_nobody_has_is_refused_before_the_launch() {
    let home = Home::new().await;
    home.ok(&["account", "add", "a", "--url", "http://127.0.0.1:9/send"]);
    home.ok(&["template", "add", "t", "--channel", "sms", "--body", "{{ name }}: {{ cty }}"]);
    let file = home.file("c.csv", "phone,name,city\n0770000001,Ann,Oran\n0770000002,,Oran\n");
    home.ok(&["import", &file, "--list", "l", "--country", "DZ"]);
    home.ok(&["campaign", "create", "c", "--template", "t", "--list", "l", "--account", "a"]);
    let plan = home.run(&["campaign", "plan", "c"]);
    assert_eq!(plan.code, 1, "a plan with refusals fails, so that `plan && launch` stops");
    assert!(plan.out.contains("\"cty\"") && plan.out.contains("did you mean city?"), "{}", plan.out);
    let said = home.fails(1, &["campaign", "launch", "c"]);
    assert!(said.contains("\"cty\"") && said.contains("1 recipients lack \"name\""), "{said}");
    let said = home.fails(1, &["campaign", "status", "c"]);
    assert!(said.contains("has not been launched"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_do_not_exist_bring_the_nearest_that_do() {
    let home = Home::new().await;
    home.campaign("http://127.0.0.1:9/send", 3, &[], &[]);
    home.ok(&["account", "add", "simulator", "--url", "http://127.0.0.1:9/send"]);
    let said = home.fails(1, &["account", "show", "simulater"]);
    assert!(said.contains("no account \"simulater\"") && said.contains("did you mean simulator?"), "{said}");
    for args in [
        ["campaign", "create", "d", "--template", "tt", "--list", "l", "--account", "a"],
        ["campaign", "create", "d", "--template", "t", "--list", "ll", "--account", "a"],
        ["campaign", "create", "d", "--template", "t", "--list", "l", "--account", "aa"],
    ] {
        let said = home.fails(1, &args);
        assert!(said.contains("did you mean"), "{said}");
    }
    for command in ["plan", "launch", "pause", "resume", "cancel", "status", "watch", "recipients", "export"] {
        let said = home.fails(1, &["campaign", command, "cc"]);
        assert!(said.contains("no campaign \"cc\"") && said.contains("did you mean c?"), "{command}: {said}");
    }
    let said = home.fails(1, &["list", "export", "ll"]);
    assert!(said.contains("no list \"ll\"") && said.contains("did you mean l?"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_of_servers_that_cannot_be() {
    let home = Home::new().await;
    let said = home.fails(2, &["account", "add", "a", "--url", "send.example.com"]);
    assert!(said.contains("url") && said.contains("https://example.com/send"), "{said}");
    let said = home.fails(2, &["account", "add", "a", "--url", "http://me:s3cret@127.0.0.1/"]);
    assert!(said.contains("secret") && !said.contains(SECRET), "{said}");
    let url = "postgres://me:hidden@127.0.0.1:1/none";
    let said = home.fails(1, &["--database-url", url, "list", "ls"]);
    assert!(said.contains("127.0.0.1:1") && said.contains("does the server run") && !said.contains("hidden"), "{said}");
    let said = home.fails(1, &["--database-url", "nonsense", "list", "ls"]);
    assert!(said.contains("postgres://user:password@host:5432/database"), "{said}");
    let said = home.fails(1, &["sim", "--listen", "0.0.0.0:0"]);
    assert!(said.contains("loopback"), "{said}");
}
